"""rnan_tf.restoring.runtimes.onnx: what an `.onnx` file's properties say."""

import json
import sys

import numpy as np
import pytest

from rnan_tf.errors import InputError
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.runtimes.onnx import OnnxRuntime, read_onnx_card

VERSION_0_1 = {
    "task": "sr",
    "level": "[2, 2]",
    "scale": "2",
    "channels": "3",
    "conditional": "false",
    "value_range": "[0, 1]",
    "tile": "null",
    "overlap": "null",
}


def test_the_property_is_the_card(exports, opened):
    import onnx

    properties = {p.key: p.value for p in onnx.load(exports["onnx"][1]).metadata_props}
    assert json.loads(properties["rnan_tf"]) == opened["onnx"][1].card.to_dict()
    assert read_onnx_card(properties) == opened["onnx"][1].card.to_dict()


def test_properties_of_version_0_1():
    card = ModelCard.from_dict(read_onnx_card(VERSION_0_1))
    assert card == ModelCard("sr-x2", 2, 3, None, None, False)


@pytest.mark.parametrize("properties", [{}, {"author": "somebody"}])
def test_other_programs_properties(properties):
    assert read_onnx_card(properties) is None


@pytest.mark.parametrize("value", ["", "{", "[1]", "null", '{"task": ["sr-x2"], "strengths": null}'])
def test_a_property_that_is_no_card(exports, tmp_path, value):
    import onnx

    proto = onnx.load(exports["onnx"][1])
    proto.metadata_props[0].value = value
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx: ") as caught:
        OnnxRuntime.open(path)
    assert "\n" not in str(caught.value)


def test_without_onnx_runtime(exports, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"model.onnx: needs ONNX Runtime: pip install 'rnan-tf\[onnx\]'"):
        OnnxRuntime.open(exports["onnx"][1])


def change_input(proto):
    for dimension, value in zip(proto.graph.input[0].type.tensor_type.shape.dim[1:], (8, 8, 4), strict=True):
        dimension.dim_value = value


def rename_input(proto):
    for node in proto.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    proto.graph.input[0].name = "picture"


def fix_tile(proto):
    """Found by `make fuzz`: a tile of 840 in a file for all sizes, a minute for a photograph of 9x13."""
    card = json.loads(proto.metadata_props[0].value)
    proto.metadata_props[0].value = json.dumps({**card, "tile": 840, "overlap": 4})


@pytest.mark.parametrize("change", [change_input, rename_input, fix_tile])
def test_inputs_that_the_card_does_not_say(exports, tmp_path, change):
    import onnx

    proto = onnx.load(exports["onnx"][1])
    change(proto)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx: ") as caught:
        OnnxRuntime.open(path)
    assert "\n" not in str(caught.value)


def test_an_answer_of_another_size(exports, tmp_path):
    import onnx

    proto = onnx.load(exports["onnx"][1])
    card = json.loads(proto.metadata_props[0].value)
    proto.metadata_props[0].value = json.dumps({**card, "task": "sr-x4", "scale": 4})
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx: makes \(1, 16, 16, 3\) of \(1, 8, 8, 3\)"):
        OnnxRuntime.open(path).run(np.zeros((1, 8, 8, 3), np.float32))
