"""The command `rnan-tf info`: what it says of a model of every kind, without TensorFlow, and of damaged ones."""

import json
import os
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from rnan_tf.export import onnx
from rnan_tf.export.saved_model import exporting as saved_model
from rnan_tf.export.tflite import exporting as tflite
from rnan_tf.network.cost import multiply_adds
from rnan_tf.network.loading import load_model, save_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import list_presets
from tests.helpers.command_line import RGB, save

EXPORTS = {"tflite": "m.tflite", "onnx": "m.onnx", "saved_model": "saved"}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A folder with a denoiser as m.tflite, m.onnx and saved/, a SavedModel whose graph no test loads."""
    folder = tmp_path_factory.mktemp("exports")
    details = {"parameters": 1234, "multiply_adds": 5_000_000, "code": "abc"}
    card = ModelCard.of_task(get_task("denoise"), (5, 60), conditional=True, details=details)
    model = RNAN(filters=4, num_blocks=2, conditional=True, metadata=card.to_dict())
    tiled = ModelCard.of_task(get_task("denoise"), (5, 60), True, tile=16, overlap=4, details=details)
    (folder / "m.tflite").write_bytes(tflite.add_card(tflite.convert(model, 16), tiled))
    (folder / "m.onnx").write_bytes(onnx.convert(model, card).SerializeToString())
    (folder / "saved" / "3").mkdir(parents=True)
    (folder / "saved" / "3" / "saved_model.pb").touch()
    saved_model.write_card(folder / "saved" / "3", card)
    return folder


def said(out):
    return dict(line.split(maxsplit=1) for line in out)


def rewrite(path, change, new="new.keras"):
    """Copy a .keras file with another config.json."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as target:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"])
                content = json.dumps(config)
            target.writestr(name, content)


class TestInfo:
    def test_of_a_keras_file(self, rnan_tf, models):
        code, out, err = rnan_tf("info M/demosaic.keras")
        assert (code, err) == (0, [])
        lines, model = said(out), load_model(models / "demosaic.keras")
        assert lines["task"] == "demosaic" and lines["steps"] == "12" and lines["scale"] == "x1"
        assert lines["parameters"] == f"{model.count_params():,}"
        assert lines["multiply-adds"] == f"{multiply_adds(model) / 1e6:.3g} million a pixel (tile of 96x96)"
        assert lines["network"] == "4 filters, 2 blocks, normalised over keys"
        assert "sigma" not in lines and "level" not in lines

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("denoise", {"sigma": "5-60", "input": "3 channel(s), any size, and the sigma"}),
            ("denoise-gray", {"sigma": "30", "input": "1 channel(s), any size"}),
            ("jpeg", {"quality": "10-40", "input": "1 channel(s), any size"}),
            ("sr-x3", {"scale": "x3", "input": "3 channel(s), any size"}),
        ],
    )
    def test_of_each_kind_of_task(self, rnan_tf, name, expected):
        code, out, err = rnan_tf(f"info M/{name}.keras")
        assert (code, err) == (0, []) and said(out).items() >= {"task": name, **expected}.items()

    @pytest.mark.parametrize(
        ("metadata", "text"),
        [
            ({"strengths": [10.0, 12.5]}, "10-12.5"),
            ({"strengths": None}, "0-75"),
            ({"level": [10.0, 12.5]}, "10-12.5"),
            ({"level": [30, 30]}, "30"),
            ({"level": 25}, "25"),
        ],
        ids=str,
    )
    def test_strengths_in_words(self, rnan_tf, models, metadata, text):
        rewrite(models / "denoise.keras", lambda config: config.update(metadata={"task": "denoise", **metadata}))
        code, out, err = rnan_tf("info new.keras")
        assert (code, err) == (0, []) and said(out).items() >= {"task": "denoise", "sigma": text}.items()

    def test_of_a_model_that_does_not_say_its_task(self, rnan_tf, models):
        code, out, err = rnan_tf("info M/untold.keras")
        assert (code, err) == (0, []) and "task            not recorded" in out
        assert said(out)["parameters"] == f"{load_model(models / 'untold.keras').count_params():,}"

    def test_of_a_run_folder_and_a_preset(self, rnan_tf, models):
        os.mkdir("run")
        shutil.copy(models / "jpeg.keras", "run/best.keras")
        assert said(rnan_tf("info run")[1])["task"] == "jpeg"
        for name in list_presets():
            lines = said(rnan_tf(f"info {name}")[1])
            assert lines["task"] == name and "multiply-adds" in lines and "level" not in lines

    @pytest.mark.parametrize("file", [*EXPORTS.values(), "saved/3"])
    def test_of_an_export(self, rnan_tf, exports, file):
        code, out, err = rnan_tf(f"info {exports / file}")
        lines = said(out)
        assert (code, err) == (0, [])
        assert (lines["task"], lines["sigma"], lines["scale"]) == ("denoise", "5-60", "x1")
        size = "16x16" if file == "m.tflite" else "any size"
        assert lines["input"] == f"3 channel(s), {size}, and the sigma"
        assert (lines["parameters"], lines["code"]) == ("1,234", "abc")
        assert lines["multiply-adds"] == "5 million a pixel (tile of 96x96)"

    def test_of_a_model_of_another_library(self, refused, exports):
        pathlib.Path("m.tflite").write_bytes((exports / "m.tflite").read_bytes().replace(b"rnan_tf", b"another"))
        refused("info m.tflite", 2, "m.tflite", "does not say what it is for")

    @pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
    def test_of_a_saved_model_without_a_card(self, refused, content):
        os.makedirs("saved/1/assets.extra")
        pathlib.Path("saved/1/saved_model.pb").touch()
        if content is not None:
            pathlib.Path("saved/1/assets.extra/rnan_tf.json").write_text(content)
        refused("info saved", 2, "saved: ")

    @pytest.mark.parametrize("name", ["m.keras", "m.tflite", "m.onnx"])
    def test_of_a_file_that_is_damaged_or_missing(self, refused, name):
        refused(f"info {name}", 2, f"{name}: no such model")
        pathlib.Path(name).write_bytes(b"damaged")
        refused(f"info {name}", 2, f"{name}: ")

    @pytest.mark.parametrize("missing", ["filters", "scale", "metadata"])
    def test_of_a_keras_file_that_is_no_rnan(self, refused, models, missing):
        rewrite(models / "demosaic.keras", lambda config: config.pop(missing))
        refused("info new.keras", 2, "new.keras: not an RNAN", missing)

    def test_control_characters_are_escaped(self, rnan_tf, models):
        """What a file says of itself must not move the cursor, or clear the terminal."""
        odd = {
            "code": "a\x1b[2Jb\rc\nd\x9be\u202ef",
            "\x1b]0;title\x07": 1,
            "parameters": "\x1b",
            "multiply_adds": "\b",
        }
        rewrite(models / "demosaic.keras", lambda config: config["metadata"]["details"].update(odd))
        code, out, err = rnan_tf("info new.keras")
        assert (code, err) == (0, []) and all(line.isprintable() for line in out)
        assert r"code            a\x1b[2Jb\rc\nd\x9be\u202ef" in out
        assert r"\x1b]0;title\x07 1" in out and r"parameters      \x1b" in out

    def test_control_characters_in_a_refusal(self, rnan_tf, models):
        rewrite(models / "demosaic.keras", lambda config: config["metadata"].update(task="\x1b[2J"))
        code, _, err = rnan_tf("info new.keras")
        assert code == 2 and len(err) == 1 and err[0].isprintable()


NO_TENSORFLOW = """
import json, os, sys
from rnan_tf.cli import main
code = main(sys.argv[1:])
print()
print(json.dumps([code, [name for name in ("tensorflow", "keras") if name in sys.modules]]))
"""


class TestWithoutTensorFlow:
    """In an interpreter of its own."""

    @pytest.mark.parametrize("file", [*EXPORTS.values(), "denoise"])
    def test_info(self, run_python, exports, file):
        source = exports / file if file in EXPORTS.values() else file
        assert run_python(NO_TENSORFLOW, "info", source) == [0, []]

    def test_info_of_a_keras_file(self, run_python, tmp_path):
        details = {"parameters": 1, "multiply_adds": 1}
        card = ModelCard.of_task(get_task("demosaic"), (0, 0), conditional=False, details=details)
        save_model(RNAN(filters=4, num_blocks=2, metadata=card.to_dict()), tmp_path / "m.keras")
        assert run_python(NO_TENSORFLOW, "info", tmp_path / "m.keras") == [0, []]

    @pytest.mark.parametrize("options", [[], ["--sigma", "30"], ["--self-ensemble"]])
    @pytest.mark.parametrize("file", ["m.tflite", "m.onnx"])
    def test_a_whole_restoration(self, run_python, exports, tmp_path, file, options):
        save(tmp_path / "a.png")
        arguments = ["restore", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", exports / file, *options]
        assert run_python(NO_TENSORFLOW, *arguments) == [0, []]
        assert np.asarray(Image.open(tmp_path / "b.png")).shape == RGB.shape
