"""export_onnx: every kind of network, in ONNX Runtime, at sizes that no tracing has seen."""

import json
from dataclasses import replace

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from rnan_tf.cli import export_onnx as cli_export
from rnan_tf.export import onnx as export_onnx
from rnan_tf.network.loading import load_model
from rnan_tf.restoring.card import card_of
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling, restore
from tests.helpers.missing import needs
from tests.helpers.quick import quick
from tests.helpers.random_networks import LITE, PAPER, random_model

KINDS = {
    "denoise": {**LITE, "conditional": True},
    "denoise-gray": {**LITE, "channels": 1, "conditional": True, "normalize_over": "queries"},
    "demosaic": {**PAPER, "chunk_size": 50},
    "jpeg": {**PAPER, "channels": 1, "normalize_over": "queries", "value_range": 255.0, "chunk_size": 50},
    "jpeg-color": {**LITE, "conditional": True},
    "sr-x2": {**LITE, "scale": 2},
    "sr-x3": {**PAPER, "scale": 3},
}


def run(path, *args):
    return cli_export.main([*args, "--model", str(path)])


@pytest.mark.parametrize(
    "kind, tile",
    quick(
        [("denoise", None), ("sr-x3", 20)],
        [*((kind, None) for kind in KINDS), ("denoise", 20), ("jpeg", 20), ("sr-x3", 20)],
    ),
)
def test_every_kind_of_network(kind, tile, tmp_path):
    model = random_model(kind, **KINDS[kind])
    proto = export_onnx.convert(model, replace(card_of(model, kind), tile=tile))
    onnx.checker.check_model(proto)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    runtime = open_runtime(tmp_path / "model.onnx")
    assert ("Loop" in runtime.operators()) == (tile is None)
    needs("openvino")
    import openvino

    others = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (2, 30, 17), (1, 21, 32)) if tile is None else ((1, tile, tile), (3, tile, tile)):
        batch = rng.random((*shape, model.channels), dtype=np.float32)
        strengths = np.full(len(batch), 0.2, np.float32)
        actual = runtime.run(batch, 0.2 * 255)
        expected = np.asarray(model({"image": batch, "level": strengths} if model.conditional else batch))
        assert actual.shape == expected.shape
        largest = max(np.abs(expected).max(), 1)
        assert np.abs(actual - expected).max() < 1e-5 * largest  # measured 1e-6
        (theirs,) = others(runtime.inputs(batch, 0.2 * 255)).values()
        assert np.abs(theirs - expected).max() < 1e-5 * largest


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model file, its export)."""
    folder = tmp_path_factory.mktemp("denoise")
    random_model("denoise", **KINDS["denoise"]).save(folder / "model.keras")
    assert run(folder / "model.keras", "--output", str(folder / "new" / "model.onnx")) == 0
    return folder / "model.keras", folder / "new" / "model.onnx"


def test_what_the_file_says(exported):
    assert [path.name for path in exported[1].parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(str(exported[1]), full_check=True)
    proto = onnx.load(exported[1])
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert {key: json.loads(value) for key, value in properties.items()} == {
        "rnan_tf": {
            "task": "denoise",
            "scale": 1,
            "channels": 3,
            "strength": "sigma",
            "strengths": [0, 75],
            "conditional": True,
            "tile": None,
            "overlap": None,
            "details": {"steps": 7},
        }
    }
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    image = ["batch", "height", "width", 3]
    assert shapes == {"image": image, "level": ["batch"], "restored": image}


def test_a_tile_of_one_size(exported, tmp_path):
    target = tmp_path / "tile.onnx"
    assert run(exported[0], "--output", str(target), "--tile", "24", "--overlap", "8") == 0
    runtime = open_runtime(target)
    assert (runtime.card.tile, runtime.card.overlap, runtime.tiling.fixed) == (24, 8, True)
    shapes = [
        [dim.dim_param or dim.dim_value for dim in i.type.tensor_type.shape.dim] for i in onnx.load(target).graph.input
    ]
    assert shapes == [["batch", 24, 24, 3], ["batch"]]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    keras_runtime = KerasRuntime(load_model(exported[0]))
    expected = restore(keras_runtime.at(20), pixels, tiling=Tiling(24, 8, fixed=True))
    assert np.abs(Restorer(runtime)(pixels, sigma=20).astype(int) - expected).max() <= 1
    for arguments in (("--tile", "30"), ("--overlap", "8"), ("--tile", "24", "--overlap", "16")):
        assert run(exported[0], "--output", str(target), *arguments) == 2


def test_strengths_of_a_batch_are_its_images_own(exported):
    session = onnxruntime.InferenceSession(str(exported[1]), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 12, 16, 3), dtype=np.float32).repeat(2, axis=0)
    restored = session.run(None, {"image": image, "level": np.array([0.0, 0.3], np.float32)})[0]
    runtime = KerasRuntime(load_model(exported[0]))
    for i, strength in enumerate((0.0, 0.3 * 255)):
        assert np.abs(restored[i] - runtime.run(image[:1], strength)[0]).max() < 1e-5
    assert np.abs(restored[0] - restored[1]).max() > 1e-3


def test_a_failed_check_leaves_the_old_file(exported, monkeypatch, capsys, tmp_path):
    proto = onnx.load(exported[1])
    monkeypatch.setattr(export_onnx, "convert", lambda model, card: proto)
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    monkeypatch.setattr(export_onnx, "TOLERANCE", -1.0)
    assert run(exported[0], "--output", str(target)) == 1
    assert "differs from the Keras model by" in capsys.readouterr().err
    monkeypatch.undo()
    proto.graph.node[0].op_type = "NoSuchOperator"
    monkeypatch.setattr(export_onnx, "convert", lambda model, card: proto)
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
