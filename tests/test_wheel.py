"""The wheel holds the library, its weights and nothing else, and restores a photograph outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf import RNAN, __version__
from rnan_tf.network.loading import save_model
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, request):
    # A copy, because setuptools leaves its build folder beside setup.py.
    folder, root = tmp_path_factory.mktemp("wheel"), request.config.rootpath
    shutil.copytree(root / "rnan_tf", folder / "source" / "rnan_tf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, capture_output=True)
    return next(folder.glob(f"rnan_tf-{__version__}-*.whl"))


def test_it_holds_the_library_alone(wheel, request):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = request.config.rootpath / "rnan_tf"
    data = [sources / "py.typed", sources / "weights" / "manifest.json", *sources.glob("weights/*.keras")]
    data += sources.glob("weights/*.tflite")
    expected = [*sources.rglob("*.py"), *data]
    assert names == {f"rnan_tf/{path.relative_to(sources).as_posix()}" for path in expected}


def test_it_restores_outside_the_checkout(wheel, tmp_path):
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    card = ModelCard.of_task(get_task("demosaic"), (0, 0), conditional=False)
    save_model(RNAN(filters=8, num_blocks=2, metadata=card.to_dict()), tmp_path / "model.keras")
    Image.fromarray(skimage.data.astronaut()[:33, :41, 1]).save(tmp_path / "bayer.png")
    code = "import rnan_tf, sys; assert rnan_tf.__file__.startswith(sys.argv[1]); from rnan_tf.cli import main; "
    code += "sys.exit(main(sys.argv[2:]))"
    arguments = ["restore", "bayer.png", "-o", "rgb.png", "--model", "model.keras"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert np.asarray(Image.open(tmp_path / "rgb.png")).shape == (33, 41, 3)
