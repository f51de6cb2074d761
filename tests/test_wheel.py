"""The wheel holds the library, its weights and the page, if it is built, and works outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf import RNAN, __version__
from rnan_tf.network.loading import save_model
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task

# A page as `make web` leaves it; float16 networks are too large for a wheel, and the int8 ones are among the weights.
PAGE = ("index.html", "headers.json", "networks.json", "assets/index.js", "litert/litert.wasm")
LEFT_OUT = ("networks/float16.json", "networks/denoise-fp16.tflite", "networks/denoise-int8.tflite")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, request):
    # A copy, because setuptools leaves its build folder beside setup.py.
    folder, root = tmp_path_factory.mktemp("wheel"), request.config.rootpath
    shutil.copytree(root / "rnan_tf", folder / "source" / "rnan_tf", ignore=_what_is_made)
    for name in PAGE + LEFT_OUT:
        file = folder / "source" / "rnan_tf" / "web" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"X-Name": name}))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, capture_output=True)
    return next(folder.glob(f"rnan_tf-{__version__}-*.whl"))


def _what_is_made(folder, names):
    """What a checkout holds beside the sources."""
    return {"__pycache__"} | ({"web"} if os.path.basename(folder) == "rnan_tf" else set())


def test_it_holds_the_library_alone(wheel, request):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = request.config.rootpath / "rnan_tf"
    data = [sources / "py.typed", sources / "weights" / "manifest.json", *sources.glob("weights/*.keras")]
    data += sources.glob("weights/*.tflite")
    expected = [*sources.rglob("*.py"), *data]
    page = {f"rnan_tf/web/{name}" for name in PAGE}
    assert names == page | {f"rnan_tf/{path.relative_to(sources).as_posix()}" for path in expected}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


# What runs the command of the installed package.
CODE = (
    "import rnan_tf, sys; assert rnan_tf.__file__.startswith(sys.argv[1]); from rnan_tf.cli import main; "
    "sys.exit(main(sys.argv[2:]))"
)


def test_it_serves_the_page_outside_the_checkout(installed, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CODE, str(installed), "web", "--no-browser", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            address = server.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{address}networks/denoise-int8.tflite") as answer:
                assert answer.read() == (installed / "rnan_tf/weights/denoise-int8.tflite").read_bytes()
        finally:
            server.terminate()


@pytest.mark.slow
def test_it_restores_outside_the_checkout(installed, tmp_path):
    card = ModelCard.of_task(get_task("demosaic"), (0, 0), conditional=False)
    save_model(RNAN(filters=8, num_blocks=2, metadata=card.to_dict()), tmp_path / "model.keras")
    Image.fromarray(skimage.data.astronaut()[:33, :41, 1]).save(tmp_path / "bayer.png")
    arguments = ["restore", "bayer.png", "-o", "rgb.png", "--model", "model.keras"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(installed), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert np.asarray(Image.open(tmp_path / "rgb.png")).shape == (33, 41, 3)
