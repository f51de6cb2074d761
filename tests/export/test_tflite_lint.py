"""tflite_lint: what an accelerator could not run is found, a good file passes."""

import warnings

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from rnan_tf.cli import lint_tflite
from rnan_tf.export.tflite import exporting
from rnan_tf.export.tflite import lint as tflite_lint
from rnan_tf.restoring.runtimes.litert import count_operators
from tests.helpers.tflite_networks import LITE, TILE, parsed, random_model


def packed(root):
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class TestLint:
    def test_good(self, demosaic):
        assert tflite_lint.lint(demosaic[1]) == []

    def operator(self, root, name):
        wanted = getattr(schema.BuiltinOperator, name)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in root.operatorCodes]
        return next(op for op in root.subgraphs[0].operators if codes[op.opcodeIndex] == wanted)

    def spoil_adjoint(self, root):
        self.operator(root, "BATCH_MATMUL").builtinOptions.adjY = True

    def spoil_custom(self, root, name=b"MyOperator"):
        code = root.operatorCodes[self.operator(root, "SOFTMAX").opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, name

    def spoil_flex(self, root):
        self.spoil_custom(root, b"FlexErf")

    def spoil_loop(self, root):
        code = root.operatorCodes[self.operator(root, "SOFTMAX").opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE, 119

    def spoil_slice(self, root):
        slices = self.operator(root, "STRIDED_SLICE")
        end = root.subgraphs[0].tensors[slices.inputs[2]]
        data = np.array(root.buffers[end.buffer].data, np.uint8).view(np.int32)
        data[1] = root.subgraphs[0].tensors[slices.inputs[0]].shape[1] + 1
        root.buffers[end.buffer].data, slices.builtinOptions.endMask = data.view(np.uint8), 0

    def spoil_rank(self, root):
        root.subgraphs[0].tensors[3].shape = [1, 1, 1, 1, 1]

    def spoil_shape(self, root):
        root.subgraphs[0].tensors[0].shapeSignature = [-1, TILE, TILE, 3]

    def spoil_type(self, root):
        root.subgraphs[0].tensors[3].type = schema.TensorType.INT64

    def spoil_subgraphs(self, root):
        root.subgraphs.append(root.subgraphs[0])

    def spoil_signature(self, root):
        root.signatureDefs = []

    def spoil_input(self, root):
        root.signatureDefs[0].inputs[0].name = b"input_1"

    def spoil_metadata(self, root):
        root.metadata = []

    @pytest.mark.parametrize(
        "spoil, problem",
        [
            ("adjoint", "BATCH_MATMUL with adj_x or adj_y (rnan"),
            ("custom", "custom operator MyOperator (rnan"),
            ("flex", "Flex operator FlexErf (rnan"),
            ("loop", "WHILE (rnan"),
            ("slice", "STRIDED_SLICE that ends beyond its tensor ("),
            ("rank", "5 dimensions, [1, 1, 1, 1, 1]"),
            ("shape", "dynamic shape [-1, 16, 16, 3]"),
            ("type", "type INT64"),
            ("subgraphs", "2 subgraphs"),
            ("signature", "no signature serving_default"),
            ("input", "signature ['input_1'] -> ['restored']"),
            ("metadata", "no metadata rnan_tf"),
        ],
    )
    def test_bad(self, demosaic, spoil, problem):
        root = parsed(demosaic[1])
        getattr(self, f"spoil_{spoil}")(root)
        problems = tflite_lint.lint(packed(root))
        assert problems and all(found.startswith(problem.split("(rnan")[0].strip()) for found in problems[:1])
        assert problem in problems[0]

    def test_chunks_that_do_not_divide_the_positions_end_with_them(self, monkeypatch):
        # 256 x 256 scores: five chunks of 52 rows, the last of 48.
        monkeypatch.setattr(exporting, "CHUNK_ELEMENTS", 15_000)
        content = exporting.convert(random_model(**{**LITE, "space_to_depth": 1}), TILE)
        assert count_operators(content)["STRIDED_SLICE"] >= 2 * 5
        assert tflite_lint.lint(content) == ["no metadata rnan_tf: a host could not know how to tile"]

    def test_what_the_stock_converter_makes_is_bad(self):
        model = random_model(**LITE).rebuild(input_size=(TILE, TILE), chunk_size=20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problems = tflite_lint.lint(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        assert any("subgraphs" in problem for problem in problems) and any("WHILE" in problem for problem in problems)
        assert any("dynamic shape" in problem for problem in problems)

    def test_bytes_that_are_no_model(self, demosaic):
        assert tflite_lint.lint(b"PK\x03\x04 nothing") == ["not a TFLite file: the identifier TFL3 is missing"]
        assert tflite_lint.lint(demosaic[1][:100])[0].startswith("damaged: ")

    def test_command(self, demosaic, tmp_path, capsys):
        good, bad = tmp_path / "good.tflite", tmp_path / "bad.tflite"
        good.write_bytes(demosaic[1])
        bad.write_bytes(b"nothing at all")
        assert lint_tflite.main([str(good)]) == 0
        assert lint_tflite.main([str(good), str(bad)]) == 1
        assert lint_tflite.main([str(tmp_path / "none.tflite")]) == 2
        out, err = capsys.readouterr()
        assert "bad.tflite: not a TFLite file" in out
        assert err.splitlines() == ["error: 1 problems", f"error: {tmp_path / 'none.tflite'}: no such file"]
