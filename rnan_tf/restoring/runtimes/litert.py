"""Run `.tflite` files with LiteRT."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.restoring.card import CARD_NAME, ModelCard, read_card
from rnan_tf.restoring.runtimes.runtime import Runtime, damaged


class LiteRtRuntime(Runtime):
    """A `.tflite` model.

    Args:
        name: of its file.
        card: what it is for.
        model: the file's content.
        threads: how many LiteRT may use.

    Raises:
        ValueError, RuntimeError: LiteRT cannot load it.
    """

    def __init__(self, name: str, card: ModelCard, model: bytes, threads: int = 2):
        super().__init__(name, card)
        from ai_edge_litert.interpreter import Interpreter

        self._content = model
        with _no_notices():
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._signature = self._interpreter.get_signature_runner("serving_default")

    @classmethod
    def open(cls, path: Path, task: str | None = None) -> "LiteRtRuntime":
        """Read a file.

        Args:
            path: one that `rnan-tf export tflite` wrote.
            task: what it was trained for, if it does not say.

        Raises:
            InputError: there is no such file, LiteRT is not installed, or the file is damaged or another network's.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such model")
        try:
            import ai_edge_litert.interpreter  # noqa: F401
        except ImportError as error:
            raise InputError(f"{path}: needs LiteRT: pip install 'rnan-tf[tflite]'") from error
        model = path.read_bytes()
        return cls.from_content(str(path), model, task)

    @classmethod
    def from_content(cls, name: str, model: bytes, task: str | None = None) -> "LiteRtRuntime":
        """Make a runtime of a file's content; see `open`."""
        try:
            if model[4:8] != b"TFL3":
                raise ValueError("no TFLite file")
            return cls(name, read_card(read_tflite_card(model), name, task), model)
        except InputError:
            raise
        except Exception as error:  # flatbuffers, struct and LiteRT raise whatever damaged bytes lead to
            raise damaged(name, error) from error

    def _run(self, batch: np.ndarray, strength: float) -> np.ndarray:
        return np.asarray(self._signature(**self.inputs(batch, strength))["restored"])

    def operators(self) -> dict[str, int]:
        return count_operators(self._content)


def read_tflite_card(model: bytes) -> Any:
    """Return what a `.tflite` file's content says of itself, or None if it has nothing of RNAN-TF's."""
    from ai_edge_litert.schema_py_generated import Model

    root = Model.GetRootAsModel(model, 0)
    for i in range(root.MetadataLength()):
        entry = root.Metadata(i)
        if entry.Name() == CARD_NAME.encode():
            return json.loads(root.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return None


def count_operators(model: bytes) -> dict[str, int]:
    """Return the operators of a `.tflite` file's content: name -> count, the most frequent first."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    root = schema.Model.GetRootAsModel(model, 0)
    codes = [root.OperatorCodes(i) for i in range(root.OperatorCodesLength())]
    graphs = [root.Subgraphs(i) for i in range(root.SubgraphsLength())]
    indices = [graph.Operators(i).OpcodeIndex() for graph in graphs for i in range(graph.OperatorsLength())]
    # Codes below 127 are in the deprecated field too, and in old files only there.
    found = (names[max(codes[i].BuiltinCode(), codes[i].DeprecatedBuiltinCode())] for i in indices)
    return dict(Counter(found).most_common())


@contextlib.contextmanager
def _no_notices() -> Iterator[None]:
    # LiteRT writes to the terminal, from C++, that it uses XNNPACK; no log level rules that line.
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)
