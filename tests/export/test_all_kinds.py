"""One model as every kind of export: each says what the model says of itself, and `verify` reads them all."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from rnan_tf.cli import export_onnx, export_saved_model, export_tflite, lint_tflite, verify
from rnan_tf.export import verify as measuring
from rnan_tf.export.artifacts import find_artifacts
from rnan_tf.export.tflite import exporting
from rnan_tf.network.loading import save_model
from rnan_tf.restoring.card import card_of
from rnan_tf.restoring.runtimes import Runtime, open_runtime
from tests.helpers.quick import quick
from tests.helpers.random_networks import LITE, random_model

TILE, OVERLAP = 16, 4
MODELS = {"jpeg-color": {**LITE, "conditional": True}, "sr-x3": {"filters": 8, "num_blocks": 2, "scale": 3}}
NAMES = ["saved_model/1", "{}-fp16.tflite", "{}-fp32.tflite", "model.onnx"]
DATA = Path(__file__).parents[1] / "data" / "version_0_1"


@pytest.fixture(scope="module", params=quick(["jpeg-color"], MODELS))
def exports(request, tmp_path_factory):
    """(task, the Keras model's card, a folder with model.keras, photo.png and artifacts/)."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    model = random_model(task, **MODELS[task])
    save_model(model, folder / "model.keras")
    Image.fromarray(skimage.data.astronaut()[:60, 100:181]).save(folder / "photo.png")
    artifacts, source = folder / "artifacts", ["--model", str(folder / "model.keras"), "--output"]
    tiles = ["--tile", str(TILE), "--overlap", str(OVERLAP)]
    phone = ["--variants", "fp32", "fp16", "--calibration", str(folder / "photo.png")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "PATCHES", 3)
        patch.setattr("rnan_tf.export.tflite.report.peak_memory", lambda *_: 1.0)
        assert export_tflite.main([*source, str(artifacts / "tflite"), *tiles, *phone]) == 0
    assert export_saved_model.main([*source, str(artifacts / "saved_model"), *tiles]) == 0
    assert export_onnx.main([*source, str(artifacts / "model.onnx")]) == 0
    return task, card_of(model, "the model"), folder


def test_each_says_what_the_model_says_of_itself(exports):
    task, card, folder = exports
    names = [name.format(task) for name in NAMES]
    found = find_artifacts(folder / "artifacts")
    assert list(found) == names
    cards = {name: open_runtime(path).card for name, path in found.items()}
    assert [cards[name] for name in (names[0], names[3])] == [card, card]
    for name, variant in zip(names[1:3], ("fp16", "fp32"), strict=True):
        assert cards[name].details == {**card.details, "variant": variant}
        assert (cards[name].tile, cards[name].overlap) == (TILE, OVERLAP)
        assert replace(cards[name], tile=None, overlap=None, details=card.details) == card
    assert card.details["steps"] == 7


def test_verify_opens_every_kind(exports, monkeypatch, capsys):
    task, card, folder = exports
    opened = []

    def recording(path, task=None):
        opened.append(path)
        return open_runtime(path, task)

    monkeypatch.setattr(measuring, "open_runtime", recording)
    monkeypatch.setattr(measuring, "peak_memory", lambda path, shape, strength, task: float(shape[1]))
    arguments = ["--model", folder / "model.keras", "--artifacts", folder / "artifacts", "--data", folder / "photo.png"]
    options = ["--tile", TILE, *(["--quality", 30] if card.conditional else [])]
    assert verify.main([*map(str, (*arguments, *options))]) == 0
    assert opened == list(find_artifacts(folder / "artifacts").values())
    report = json.loads((folder / "artifacts" / "report.json").read_text())
    assert (report["task"], report["strength"]) == (task, 30 if card.conditional else 0)
    model, *rows = report["rows"]
    assert (model["name"], model["tolerance"], model["loss"]) == ("model.keras", None, 0)
    assert [row["name"] for row in rows] == [name.format(task) for name in NAMES]
    assert [row["tolerance"] for row in rows] == [0.01, 0.02, 0.01, 0.01]
    assert all(row["passes"] and row["largest_difference"] <= 1 and row["operators"] for row in rows)
    assert f"{task}, JPEG quality 30" in capsys.readouterr().out if card.conditional else True


def test_a_missing_runtime_is_a_line(exports, monkeypatch, capsys):
    _, _, folder = exports
    arguments = ["--model", folder / "model.keras", "--data", folder / "photo.png", "--tile", TILE, "--artifacts"]
    for module, kind, package in (
        ("ai_edge_litert.interpreter", "tflite", "ai-edge-litert"),
        ("onnxruntime", ".", "'rnan-tf[onnx]'"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, module, None)
            assert verify.main([*map(str, (*arguments, folder / "artifacts" / kind))]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and line.endswith(f"pip install {package}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command, extra, options in (
        (export_tflite, "tflite", ["--output", folder / "new"]),
        (export_onnx, "onnx", ["--output", folder / "new.onnx"]),
        (export_saved_model, "serving", ["--output", folder / "new"]),
    ):
        assert command.main([*map(str, ("--model", folder / "model.keras", *options))]) == 2
        assert capsys.readouterr().err.endswith(f" not installed: pip install 'rnan-tf[{extra}]'\n")
    assert lint_tflite.main([str(folder / "model.tflite")]) == 2
    assert capsys.readouterr().err.endswith(" not installed: pip install 'rnan-tf[tflite]'\n")
    assert not (folder / "new").exists() and not (folder / "new.onnx").exists()


def test_namesakes_are_told_apart(tmp_path):
    for name in ("a/model.onnx", "b/model.onnx", "b/other.onnx", "a/net/1/saved_model.pb", "b/net/1/saved_model.pb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = ["a/net/1", "b/net/1", "a/model.onnx", "b/model.onnx", "other.onnx"]
    assert list(find_artifacts(tmp_path)) == named


# === Version 0.1 ===


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The folder with version 0.1's models/ and saved_models/."""
    folder = tmp_path_factory.mktemp("version_0_1")
    with tarfile.open(DATA / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("kind", ["-fp32.tflite", "-int8.tflite", ".onnx"])
def test_what_version_0_1_wrote_into_its_files_is_read(old, kind):
    variant = kind[1:5] if "tflite" in kind else None
    denoise = open_runtime(old / "models" / f"denoise{kind}").card
    assert (denoise.task, denoise.scale, denoise.channels, denoise.conditional) == ("denoise", 1, 3, True)
    assert (denoise.strength, denoise.strengths) == ("sigma", (0, 75))
    assert (denoise.tile, denoise.overlap) == ((96 if variant else None), 16)
    assert denoise.details.get("variant") == variant
    enlarging = open_runtime(old / "models" / f"sr-x2{kind}").card
    assert (enlarging.task, enlarging.scale, enlarging.channels, enlarging.conditional) == ("sr-x2", 2, 3, False)
    assert (enlarging.strength, enlarging.strengths) == (None, None)
    assert (enlarging.tile, enlarging.overlap) == ((64 if variant else None), 16)


def test_what_each_may_lose_is_decided_by_what_it_says(old, tmp_path):
    allowed = {}
    for kind in ("-fp32.tflite", "-int8.tflite", ".onnx"):
        file = old / "models" / f"denoise{kind}"
        renamed = tmp_path / f"mine{file.suffix}"
        renamed.write_bytes(file.read_bytes())
        allowed[kind] = measuring.allowed_loss(open_runtime(renamed))
    saved_model: Runtime = open_runtime(old / "saved_models" / "denoise", "denoise")
    assert [*allowed.values(), measuring.allowed_loss(saved_model)] == [0.01, 0.1, 0.01, 0.01]
