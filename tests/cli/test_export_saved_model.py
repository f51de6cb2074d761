"""The command export_saved_model.py: what it adds to a folder, and what it leaves behind when it fails."""

import json
import shutil
import sys

import keras
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from rnan_tf.cli import export_saved_model as cli_export
from rnan_tf.export.saved_model import graph as saved_model
from rnan_tf.network.loading import save_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, read_card
from rnan_tf.tasks.task import get_task
from tests.helpers.saved_models import PHOTO


@pytest.fixture
def export(capsys, tmp_path):
    """Run the command with output folder tmp_path/out: (exit code, lines on stdout, lines on stderr)."""
    card = ModelCard.of_task(get_task("denoise"), (5, 60), conditional=True)
    for name, metadata in (("good", card.to_dict()), ("untold", {})):
        model = RNAN(filters=4, num_blocks=2, space_to_depth=2, conditional=True, metadata=metadata)
        save_model(model, tmp_path / f"{name}.keras")

    def run(*arguments, model="good.keras"):
        paths = ["--model", str(tmp_path / model), "--output", str(tmp_path / "out")]
        code = cli_export.main([*paths, "--tile", "32", "--overlap", "8", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def test_export_adds_a_version_with_warmup_requests(export, tmp_path):
    folder = tmp_path / "out"
    (folder / "9").mkdir(parents=True)
    (folder / "9" / "saved_model.pb").write_bytes(b"older")
    (folder / ".DS_Store").write_bytes(b"")
    code, out, err = export()
    assert (code, err) == (0, [])
    assert "out/10" in out[0] and "levels (uint8)" in out[1]
    assert sorted(path.name for path in folder.iterdir()) == [".DS_Store", "10", "9"]
    assert (folder / "9" / "saved_model.pb").read_bytes() == b"older"
    signatures, seen = tf.saved_model.load(str(folder / "10")).signatures, []
    for record in tf.data.TFRecordDataset(str(folder / "10" / "assets.extra" / "tf_serving_warmup_requests")):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        (output,) = signatures[request.model_spec.signature_name](**inputs).values()
        assert len(output) == 1
        assert request.model_spec.name == "out"
        seen.append(request.model_spec.signature_name)
    assert sorted(seen) == ["serve_bytes", "serve_float", "serving_default"]
    card = read_card(json.loads((folder / "10" / "assets.extra" / "rnan_tf.json").read_text()), "out")
    assert card == ModelCard.of_task(get_task("denoise"), (5, 60), conditional=True)


def test_other_content_is_refused(export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"mine")
    code, out, err = export()
    assert (code, out) == (2, [])
    assert len(err) == 1 and "holiday.jpg" in err[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["holiday.jpg"]


@pytest.mark.slow
def test_wrong_export_is_not_left_behind(export, exported, tmp_path, monkeypatch):
    other = exported("denoise")[1]
    monkeypatch.setattr(saved_model.ServingGraph, "save", lambda _, folder: shutil.copytree(other, folder))
    code, out, err = export()
    assert (code, out) == (1, [])
    assert len(err) == 1 and "differs from the Keras model" in err[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_full_disk_is_one_line(export, tmp_path, monkeypatch):
    def save(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(saved_model.ServingGraph, "save", save)
    code, _, err = export()
    assert code == 1 and len(err) == 1 and "No space left on device" in err[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_use(export, tmp_path, monkeypatch):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    Image.fromarray(PHOTO[:2, :2]).save(tmp_path / "small.png")
    for message, arguments, model in (
        ("not an RNAN", [], "other.keras"),
        ("no such model", [], "none.keras"),
        ("give --task", [], "untold.keras"),
        ("not sr-x2", ["--task", "sr-x2"], "good.keras"),
        ("--max-pixels", ["--max-pixels", "0"], "good.keras"),
        ("too small", ["--image", str(tmp_path / "small.png")], "good.keras"),
        ("no such file", ["--image", str(tmp_path / "none.png")], "good.keras"),
    ):
        code, out, err = export(*arguments, model=model)
        assert (code, out, len(err)) == (2, [], 1) and message in err[0], (message, err)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    code, _, err = export()
    assert code == 2 and len(err) == 1 and "pip install 'rnan-tf[serving]'" in err[0]
    assert not (tmp_path / "out").exists()
