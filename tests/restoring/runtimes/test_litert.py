"""rnan_tf.restoring.runtimes.litert: what a `.tflite` file's content says."""

import struct
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from rnan_tf.errors import InputError
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime, _operators, count_operators, read_tflite_card
from tests.restoring.runtimes.conftest import TILE


def test_content_as_well_as_a_file(exports, opened):
    path = exports["tflite"][1]
    runtime = LiteRtRuntime.from_content("some content", path.read_bytes())
    assert runtime.name == "some content" and runtime.card == opened["tflite"][1].card
    batch = np.full((1, TILE, TILE, 3), 0.5, np.float32)
    np.testing.assert_array_equal(runtime.run(batch, 25), opened["tflite"][1].run(batch, 25))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"1234TFL3", b"1234TFL3" + bytes(100)])
def test_damaged_content_is_named(content):
    with pytest.raises(InputError, match=r"^some content: cannot be loaded \(.*\); copy or export it again"):
        LiteRtRuntime.from_content("some content", content)


def test_a_card_that_is_no_json(exports):
    content = exports["tflite"][1].read_bytes()
    with pytest.raises(InputError, match=r"^m: cannot be loaded"):
        LiteRtRuntime.from_content("m", content.replace(b'{"task": ', b"{'task': "))


def test_the_card_and_the_operators_are_read_without_an_interpreter(exports, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    content = exports["tflite"][1].read_bytes()
    assert read_tflite_card(content) == opened["tflite"][1].card.to_dict()
    assert count_operators(content) == opened["tflite"][1].operators()


def test_the_terminal_stays_quiet(exports, capfd):
    LiteRtRuntime.open(exports["tflite"][1])
    assert capfd.readouterr() == ("", "")


def test_a_result_that_is_no_tensor_of_the_file(exports):
    """Found by `make fuzz`: LiteRT loads it."""
    content = bytearray(exports["tflite"][1].read_bytes())
    table = schema.Model.GetRootAsModel(content, 0).SignatureDefs(0).Outputs(0)._tab
    struct.pack_into("<I", content, table.Pos + table.Offset(6), 30180)  # the field tensor_index
    with pytest.raises(InputError, match=r"^m: cannot be loaded \(Invalid tensor index 30180"):
        LiteRtRuntime.from_content("m", bytes(content))


@pytest.mark.parametrize("name", ["PAD", "TRANSPOSE_CONV"])
def test_a_constant_that_would_fill_the_memory(exports, name):
    """Found by `make fuzz`: LiteRT took 2.4 GB before it refused the file, or did not come back."""
    content = bytearray(exports["tflite"][1].read_bytes())
    root = schema.Model.GetRootAsModel(content, 0)
    operator = next(operator for _, operator, each in _operators(root) if each == name)
    tensor = root.Subgraphs(0).Tensors(operator.Inputs(1 if name == "PAD" else 0))
    root.Buffers(tensor.Buffer()).DataAsNumpy().view(np.int32)[2] += 9437185
    with pytest.raises(InputError, match=rf"^m: cannot be loaded \({name} makes another size than the file says"):
        LiteRtRuntime.from_content("m", bytes(content))


def test_a_tensor_that_would_fill_the_memory(exports):
    content = bytearray(exports["tflite"][1].read_bytes())
    graph = schema.Model.GetRootAsModel(content, 0).Subgraphs(0)
    graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[1:3] = 2**15
    with pytest.raises(InputError, match=r"^m: cannot be loaded \(a tensor of more than 268,435,456 values"):
        LiteRtRuntime.from_content("m", bytes(content))


def test_a_result_of_another_name(exports):
    """Found by `make fuzz`."""
    content = exports["tflite"][1].read_bytes()
    with pytest.raises(InputError, match=r"^m: has no output named restored; export it again"):
        LiteRtRuntime.from_content("m", content.replace(b"restored", b"restorex"))
