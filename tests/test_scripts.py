"""The scripts of training/ and export/ run from a checkout in which rnan_tf is not installed."""

import shutil
import subprocess
import sys

SCRIPTS = {
    "training/train.py": "rnan-tf train",
    "export/export_saved_model.py": "rnan-tf export saved-model",
    "export/export_tflite.py": "rnan-tf export tflite",
    "export/export_onnx.py": "rnan-tf export onnx",
    "export/verify.py": "rnan-tf verify",
}
# All in one process, as TensorFlow takes seconds to import.
RUN_ALL = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, (script, end.code)
import rnan_tf
print(rnan_tf.__file__)
"""


def test_they_find_the_checkout_and_are_the_commands(tmp_path, request):
    root, checkout = request.config.rootpath, tmp_path / "checkout"
    for name in ("rnan_tf", "training", "export"):
        shutil.copytree(
            root / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.keras", "node_modules")
        )
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN_ALL, *(checkout / script for script in SCRIPTS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    usages = [line for line in done.stdout.splitlines() if line.startswith("usage: ")]
    assert [usage.partition(" [")[0] for usage in usages] == [f"usage: {command}" for command in SCRIPTS.values()]
    assert done.stdout.splitlines()[-1] == str(checkout / "rnan_tf" / "__init__.py")
