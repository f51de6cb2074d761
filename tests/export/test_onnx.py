"""export_onnx: every kind of network, in ONNX Runtime, at sizes that no tracing has seen."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from rnan_tf.restoring.loading import load_model

from rnan_tf import RNAN
from rnan_tf.cli import export_onnx as cli_export
from rnan_tf.export import onnx as export_onnx
from rnan_tf.restoring.runtimes import load_artifact, make_metadata
from rnan_tf.restoring.tiling import model_predictor
from rnan_tf.tasks.task import TASKS

LITE, PAPER = {"filters": 8, "num_blocks": 2, "space_to_depth": 2}, {"filters": 16, "num_blocks": 2}
KINDS = {
    "denoise": {**LITE, "conditional": True},
    "denoise-gray": {**LITE, "channels": 1, "conditional": True, "normalize_over": "queries"},
    "demosaic": {**PAPER, "chunk_size": 50},
    "jpeg": {**PAPER, "channels": 1, "normalize_over": "queries", "value_range": 255.0, "chunk_size": 50},
    "sr": {**LITE, "scale": 2},
    "sr paper": {**PAPER, "scale": 3},
}


def random_model(kind):
    """A network whose non-local blocks have an effect, which they do not as initialised."""
    model = RNAN(**KINDS[kind])
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(4 * fan_in))
    model.metadata["task"] = kind.split()[0]
    if model.conditional:
        model.metadata["level"] = [0, 75]
    return model


def run(path, *args):
    return cli_export.main([*args, "--model", str(path)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network(kind, tmp_path):
    model = random_model(kind)
    levels = (2, 2) if model.scale > 1 else (0, 75)
    proto = export_onnx.convert(model, make_metadata(model, TASKS[kind.split()[0]], levels))
    onnx.checker.check_model(proto)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    artifact = load_artifact(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (2, 30, 17), (1, 21, 32)):
        batch = rng.random((*shape, model.channels), dtype=np.float32)
        levels = np.full(len(batch), 0.2, np.float32)
        actual = artifact.predictor(0.2)(batch)
        expected = np.asarray(model({"image": batch, "level": levels} if model.conditional else batch))
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() < 1e-5 * max(np.abs(expected).max(), 1)  # measured 1e-6


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model file, its export)."""
    folder = tmp_path_factory.mktemp("denoise")
    random_model("denoise").save(folder / "model.keras")
    assert run(folder / "model.keras", "--output", str(folder / "new" / "model.onnx")) == 0
    return folder / "model.keras", folder / "new" / "model.onnx"


def test_what_the_file_says(exported):
    assert [path.name for path in exported[1].parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(str(exported[1]), full_check=True)
    proto = onnx.load(exported[1])
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert properties.pop("task") == "denoise"
    assert {key: json.loads(value) for key, value in properties.items()} == {
        "level": [0, 75],
        "scale": 1,
        "channels": 3,
        "conditional": True,
        "value_range": [0, 1],
        "tile": None,
        "overlap": 16,
    }
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    image = ["batch", "height", "width", 3]
    assert shapes == {"image": image, "level": ["batch"], "restored": image}


def test_levels_of_a_batch_are_its_images_own(exported):
    session = onnxruntime.InferenceSession(str(exported[1]), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 12, 16, 3), dtype=np.float32).repeat(2, axis=0)
    restored = session.run(None, {"image": image, "level": np.array([0.0, 0.3], np.float32)})[0]
    model = load_model(exported[0])
    for i, level in enumerate((0.0, 0.3)):
        assert np.abs(restored[i] - model_predictor(model, level)(image[:1])[0]).max() < 1e-5
    assert np.abs(restored[0] - restored[1]).max() > 1e-3


def test_a_failed_check_leaves_the_old_file(exported, monkeypatch, capsys, tmp_path):
    proto = onnx.load(exported[1])
    monkeypatch.setattr(export_onnx, "convert", lambda model, metadata: proto)
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    monkeypatch.setattr(export_onnx, "TOLERANCE", -1.0)
    assert run(exported[0], "--output", str(target)) == 1
    assert "differs from the Keras model by" in capsys.readouterr().err
    monkeypatch.undo()
    proto.graph.node[0].op_type = "NoSuchOperator"
    monkeypatch.setattr(export_onnx, "convert", lambda model, metadata: proto)
    assert run(exported[0], "--output", str(target)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {target}: onnx.checker: ") and line.endswith("; not written")
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_tf2onnx_failing_is_a_line(exported, monkeypatch, capsys, tmp_path):
    import tf2onnx

    def fail(*args, **kwargs):
        raise ValueError("no converter for Erf\nstack trace")

    monkeypatch.setattr(tf2onnx.convert, "from_function", fail)
    assert run(exported[0], "--output", str(tmp_path / "model.onnx")) == 1
    assert capsys.readouterr().err == "error: tf2onnx failed (no converter for Erf); nothing was exported\n"


def test_wrong_use(exported, tmp_path, monkeypatch, capsys):
    import importlib.util

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    (tmp_path / "folder.onnx").mkdir()
    target = str(tmp_path / "model.onnx")
    for model, arguments, message in (
        (tmp_path / "dense.keras", ["--output", target], "not an RNAN"),
        (tmp_path / "none.keras", ["--output", target], "no such model"),
        (exported[0], ["--output", str(tmp_path / "model.pb")], "must be a file whose name ends in .onnx"),
        (exported[0], ["--output", str(tmp_path / "folder.onnx")], "must be a file whose name ends in .onnx"),
        (exported[0], ["--output", target, "--task", "demosaic"], "trained for task denoise, not demosaic"),
    ):
        assert run(model, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and message in line
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(exported[0], "--output", target) == 2
    assert "tf2onnx not installed: pip install 'rnan-tf[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()
