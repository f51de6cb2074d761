"""export/verify.py: every artifact beside the model, and exit code 1 for one that is not its equal."""

import json

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf import RNAN
from rnan_tf.cli import export_onnx, export_saved_model, verify
from rnan_tf.errors import InputError
from rnan_tf.export.artifacts import find_artifacts
from rnan_tf.export.costs import latencies
from rnan_tf.network.loading import save_model
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A random conditional model that changes images visibly, its ONNX file and its SavedModel."""
    folder = tmp_path_factory.mktemp("exported")
    keras.utils.set_random_seed(0)
    card = ModelCard.of_task(get_task("denoise"), (0, 75), conditional=True)
    model = RNAN(filters=8, num_blocks=2, space_to_depth=2, conditional=True, metadata=card.to_dict())
    save_model(model, folder / "model.keras")
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    arguments = ["--model", str(folder / "model.keras"), "--output"]
    assert export_onnx.main([*arguments, str(artifacts / "model.onnx")]) == 0
    assert export_saved_model.main([*arguments, str(artifacts / "saved_model")]) == 0
    Image.fromarray(skimage.data.astronaut()[:70, 100:201]).save(folder / "photo.png")
    return folder


def run(folder, model="model.keras"):
    arguments = ["--model", folder / model, "--artifacts", folder / "artifacts", "--data", folder / "photo.png"]
    return verify.main([*map(str, arguments), "--tile", "48"])


@pytest.mark.slow
def test_equal_artifacts_pass_and_are_reported(exported, capsys):
    assert run(exported) == 0
    report = json.loads((exported / "artifacts" / "report.json").read_text())
    assert (report["task"], report["strength"], report["images"]) == ("denoise", 50, 1)
    model, *rows = report["rows"]
    assert {row["name"] for row in rows} == {"model.onnx", "saved_model/1"}
    for row in rows:
        assert row["passes"]
        assert row["largest_difference"] <= 1
        assert abs(row["loss"]) < 0.001
        assert row["psnr"] == pytest.approx(model["psnr"], abs=0.001)
        assert row["latency_ms"] > 0
        assert row["megabytes"] > 0.05
        assert row["peak_megabytes"] > 20
    assert next(row for row in rows if row["name"] == "model.onnx")["operators"]["Conv"] > 10
    assert (exported / "artifacts" / "report.md").read_text() in capsys.readouterr().out
    assert np.asarray(Image.open(exported / "artifacts" / "crops.png")).shape == (70 + 16, 4 * 70, 3)


@pytest.mark.slow
def test_another_networks_artifact_fails_with_1(exported, capsys):
    model = keras.saving.load_model(exported / "model.keras")
    # A network that returns its input, whose PSNR is far above the random one's.
    model.get_layer("tail").set_weights([0 * weight for weight in model.get_layer("tail").get_weights()])
    save_model(model, exported / "identity.keras")
    assert run(exported, "identity.keras") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: out of tolerance: ")
    assert "model.onnx" in error
    assert "saved_model/1" in error


def test_a_folder_without_artifacts_is_wrong_use(tmp_path):
    with pytest.raises(InputError, match="and no SavedModel in it"):
        find_artifacts(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_artifacts(tmp_path / "nowhere")


def test_of_a_saved_model_the_newest_version_counts(tmp_path):
    for version in ("2", "10"):
        (tmp_path / "model" / version).mkdir(parents=True)
        (tmp_path / "model" / version / "saved_model.pb").touch()
    assert find_artifacts(tmp_path) == {"model/10": tmp_path / "model" / "10"}


def test_latencies_are_medians_of_calls_in_turn():
    calls = []
    predictors = {name: lambda batch, name=name: calls.append(name) for name in ("a", "b")}
    medians = latencies(predictors, np.zeros((1, 4, 4, 3), np.float32), repeats=3)
    assert calls == ["a", "b"] * 5
    assert set(medians) == {"a", "b"}
