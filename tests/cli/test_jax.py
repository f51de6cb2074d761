"""`--backend jax` of `restore` and `evaluate`: TensorFlow's pixels and scores, tiles of one shape, refusals."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.helpers.command_line import save
from tests.helpers.jax_process import compilations
from tests.helpers.missing import needs

needs("jax")

# Two and three whole tiles of 32x32, 20 apart: TensorFlow then has the same ones, which else may be smaller.
SIZES = {"a.png": (52, 32), "b.png": (32, 72)}


@pytest.fixture
def photos(workplace):
    for name, (height, width) in SIZES.items():
        save(f"photos/{name}", skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width])


@pytest.fixture
def on_both(run_jax, rnan_tf, models):
    """Run a command line on JAX, where it compiles the network once, and in this process."""

    def run(line):
        words = line.replace("M/", f"{models}/").replace("BACKEND", "jax").split()
        done = run_jax("-m", "rnan_tf.cli", *words)
        assert done.returncode == 0, done.stderr
        assert compilations(done.stderr, "predict_step") == 1
        code, _, err = rnan_tf(line.replace("BACKEND", "tensorflow"))
        assert code == 0, err

    return run


def pixels(path):
    return np.asarray(Image.open(path), int)


def test_restore(on_both, photos):
    on_both("restore photos -o BACKEND --model M/denoise.keras --sigma 25 --tile 32 --self-ensemble")
    for name in SIZES:
        ours, theirs, before = (pixels(f"{folder}/{name}") for folder in ("jax", "tensorflow", "photos"))
        assert np.abs(ours - theirs).max() <= 1 < np.abs(ours - before).max()


def test_evaluate(on_both, photos):
    on_both("evaluate --task demosaic --data photos --tile 32 --model M/demosaic.keras --json BACKEND.json")
    ours, theirs = (json.loads(Path(f"{backend}.json").read_text()) for backend in ("jax", "tensorflow"))
    assert ours["mean"] == pytest.approx(theirs["mean"], rel=1e-4)


@pytest.mark.parametrize("arguments", ["--fast --task denoise", "--model network.tflite", "--model network.onnx"])
def test_networks_of_other_runtimes_are_refused(refused, workplace, arguments):
    save("in.png")
    line = f"restore in.png -o out.png --backend tensorflow {arguments}"
    refused(line, 2, "its runtime is not Keras; leave --backend out")


def test_keras_has_one_backend_a_process(refused):
    save("in.png")
    line = "restore in.png -o out.png --backend jax"
    refused(line, 2, "--backend jax: Keras runs on tensorflow in this process already")


def test_jax_that_is_missing_is_one_line(refused, monkeypatch):
    save("in.png")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else find_spec(name))
    refused("restore in.png -o out.png --backend jax", 2, "jax not installed: pip install 'rnan-tf[jax]'")
