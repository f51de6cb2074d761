"""Run `.onnx` files with ONNX Runtime."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.extras import check_extra
from rnan_tf.restoring.card import CARD_NAME, ModelCard, read_card
from rnan_tf.restoring.runtimes.runtime import Runtime, damaged


class OnnxRuntime(Runtime):
    """An `.onnx` model.

    Args:
        path: its file.
        card: what it is for.
        session: an `onnxruntime.InferenceSession`.
    """

    def __init__(self, path: Path, card: ModelCard, session: Any):
        super().__init__(str(path), card)
        self._path, self._session = path, session

    @classmethod
    def open(cls, path: Path, task: str | None = None) -> "OnnxRuntime":
        """Read a file.

        Args:
            path: one that `rnan-tf export onnx` wrote.
            task: what it was trained for, if it does not say.

        Raises:
            InputError: there is no such file, ONNX Runtime is not installed, or the file is damaged or another
                network's.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such model")
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path}: needs ONNX Runtime: pip install 'rnan-tf[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # tiles run side by side
        options.log_severity_level = 3  # errors
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            data = read_onnx_card(session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise damaged(str(path), error) from error
        runtime = cls(path, read_card(data, str(path), task), session)
        runtime.check_signature({each.name: each.shape for each in session.get_inputs()})
        return runtime

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        def restore(tiles: np.ndarray, strength: float) -> np.ndarray:
            return np.asarray(self._session.run(["restored"], self.inputs(tiles, strength))[0])

        try:
            return self.side_by_side(restore, batch, strength)
        except Exception as error:  # see above
            raise damaged(self.name, error) from error

    def operators(self) -> dict[str, int]:
        check_extra("onnx", self.name)
        import onnx

        def nodes(graph: Any) -> Iterator[str]:
            for node in graph.node:
                yield node.op_type
                for attribute in node.attribute:
                    if attribute.type == onnx.AttributeProto.GRAPH:
                        yield from nodes(attribute.g)

        return dict(Counter(nodes(onnx.load(self._path).graph)).most_common())


def read_onnx_card(properties: dict[str, str]) -> Any:
    """Return what an ONNX model's properties say of it, or None if they are nothing of RNAN-TF's.

    In version 0.1 each fact had its own, `task` as plain text.
    """
    if CARD_NAME in properties:
        return json.loads(properties[CARD_NAME])
    known = ("level", "scale", "channels", "conditional", "tile", "overlap")
    data = {key: json.loads(properties[key]) for key in known if key in properties}
    return data | {key: properties[key] for key in ("task",) if key in properties} or None
