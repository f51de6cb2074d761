"""Run `.tflite` files with LiteRT."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.restoring.card import CARD_NAME, ModelCard, read_card
from rnan_tf.restoring.runtimes.runtime import Runtime, count_cores, damaged


class LiteRtRuntime(Runtime):
    """A `.tflite` model.

    Args:
        name: of its file.
        card: what it is for.
        model: the file's content.

    Raises:
        InputError: its inputs or outputs are not those of its card.
        ValueError, RuntimeError: LiteRT cannot load it.
    """

    def __init__(self, name: str, card: ModelCard, model: bytes):
        super().__init__(name, card)
        self._content = model
        self._one = Interpreter(model, count_cores())
        self._idle: SimpleQueue[Interpreter] = SimpleQueue()
        self.check_signature(self._one.shapes)
        if "restored" not in self._one.outputs:
            raise InputError(f"{name}: has no output named restored; export it again")

    @classmethod
    def open(cls, path: Path, task: str | None = None) -> "LiteRtRuntime":
        """Read a file.

        Args:
            path: one that `rnan-tf export tflite` wrote.
            task: what it was trained for, if it does not say.

        Raises:
            InputError: there is no such file, or it is damaged or another network's.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such model")
        return cls.from_content(str(path), path.read_bytes(), task)

    @classmethod
    def from_content(cls, name: str, model: bytes, task: str | None = None) -> "LiteRtRuntime":
        """Make a runtime of a file's content; see `open`."""
        try:
            if model[4:8] != b"TFL3":
                raise ValueError("no TFLite file")
            card = read_card(read_tflite_card(model), name, task)
            _check_sizes(model)
            return cls(name, card, model)
        except InputError:
            raise
        except ImportError as error:
            raise InputError(f"{name}: needs LiteRT: pip install ai-edge-litert") from error
        except Exception as error:  # flatbuffers, struct and LiteRT raise whatever damaged bytes lead to
            raise damaged(name, error) from error

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        try:
            return self._restore(batch, strength)
        except (ValueError, RuntimeError) as error:  # of a signature or an operator that is damaged
            raise damaged(self.name, error) from error

    def _restore(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        if len(batch) == 1:
            return self._one.run(self.inputs(batch, strength))["restored"]

        def restore(tiles: np.ndarray, strength: float) -> np.ndarray:
            try:
                interpreter = self._idle.get_nowait()
            except Empty:
                interpreter = Interpreter(self._content, 1)
            restored = interpreter.run(self.inputs(tiles, strength))["restored"]
            self._idle.put(interpreter)
            return restored

        return self.side_by_side(restore, batch, strength)

    def operators(self) -> dict[str, int]:
        return count_operators(self._content)


_LARGEST = 2**28  # values in a tensor; those of the largest network have a tenth of it
_loading = Lock()  # as `_no_notices` exchanges a file descriptor of the whole process


class Interpreter:
    """LiteRT's own, of the signature `serving_default`.

    Args:
        model: a `.tflite` file's content.
        threads: that it may use.

    Raises:
        ValueError, RuntimeError: LiteRT cannot load it.
    """

    def __init__(self, model: bytes, threads: int):
        from ai_edge_litert.interpreter import Interpreter as LiteRtInterpreter

        with _loading, _no_notices():
            self._interpreter = LiteRtInterpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._signature = self._interpreter.get_signature_runner("serving_default")

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Each input's shape."""
        return {name: details["shape"].tolist() for name, details in self._signature.get_input_details().items()}

    @property
    def outputs(self) -> list[str]:
        """The outputs' names."""
        return list(self._signature.get_output_details())

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what comes of the inputs, by the outputs' names."""
        return dict(self._signature(**inputs))


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

    found = (name for *_, name in _operators(schema.Model.GetRootAsModel(model, 0)))
    return dict(Counter(found).most_common())


def _operators(root: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield (its graph, an operator, the operator's name) of a model."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [root.OperatorCodes(i) for i in range(root.OperatorCodesLength())]
    for graph in (root.Subgraphs(i) for i in range(root.SubgraphsLength())):
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            code = codes[operator.OpcodeIndex()]
            # Codes below 127 are in the deprecated field too, and in old files only there.
            yield graph, operator, names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]


def _check_sizes(model: bytes) -> None:
    """Check, before LiteRT makes room for them, that a file's tensors are not too large, nor larger than it says.

    LiteRT takes the sizes of two operators' results from constants: a few damaged bytes would fill the memory.

    Raises:
        ValueError: they are.
    """
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAsModel(model, 0)

    def shape(graph: Any, index: int) -> np.ndarray:
        tensor = graph.Tensors(index)
        return np.asarray(tensor.ShapeAsNumpy() if tensor.ShapeLength() else [], np.float64)

    def numbers(graph: Any, index: int) -> np.ndarray:
        return np.asarray(root.Buffers(graph.Tensors(index).Buffer()).DataAsNumpy().view(np.int32), np.float64)

    for graph in (root.Subgraphs(i) for i in range(root.SubgraphsLength())):
        if any(shape(graph, i).prod() > _LARGEST for i in range(graph.TensorsLength())):
            raise ValueError(f"a tensor of more than {_LARGEST:,} values")
    for graph, operator, name in _operators(root):
        inputs, said = operator.InputsAsNumpy(), shape(graph, operator.Outputs(0))
        if name == "PAD":
            made = shape(graph, inputs[0]) + numbers(graph, inputs[1]).reshape(-1, 2).sum(axis=1)
        elif name == "TRANSPOSE_CONV":
            made = numbers(graph, inputs[0])
        else:
            continue
        if not np.array_equal(made, said):
            raise ValueError(f"{name} makes another size than the file says")


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
