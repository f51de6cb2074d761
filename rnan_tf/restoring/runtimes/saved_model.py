"""Run a SavedModel, as TensorFlow Serving does."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, first_line
from rnan_tf.restoring.card import CARD_FILE, ModelCard, read_card
from rnan_tf.restoring.runtimes.runtime import Runtime, damaged
from rnan_tf.tasks.task import get_task


class SavedModelRuntime(Runtime):
    """A SavedModel that `rnan-tf export saved-model` wrote.

    Args:
        folder: of a version.
        card: what it is for.
        function: the signature `serve_float`.
    """

    def __init__(self, folder: Path, card: ModelCard, function: Any):
        super().__init__(str(folder), card)
        self._function = function

    @classmethod
    def open(cls, folder: Path, task: str | None = None) -> "SavedModelRuntime":
        """Load a version.

        Args:
            folder: the version's.
            task: what it was trained for, if it does not say, as in version 0.1.

        Raises:
            InputError: it is damaged, or not a restoring network's.
        """
        try:
            # The signature does not keep the model alive, whose variables it needs.
            model = tf.saved_model.load(str(folder))
            function = model.signatures["serve_float"]
            function.model = model
            inputs = function.structured_input_signature[1]
            file = folder / CARD_FILE
            data = json.loads(file.read_text()) if file.is_file() else _without_card(inputs, task)
        except InputError:
            raise
        except Exception as error:  # TensorFlow raises whatever damaged files lead to
            raise damaged(str(folder), error) from error
        return cls(folder, read_card(data, str(folder), task), function)

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        def restore(tiles: np.ndarray, strength: np.number) -> np.ndarray:
            arguments = {"image": tf.constant(np.ascontiguousarray(tiles, np.float32))}
            if self.card.conditional:  # served models are told strengths in the user's unit
                arguments["level"] = tf.fill([len(tiles)], tf.constant(strength, tf.float32))
            try:
                return np.asarray(self._function(**arguments)["restored"])
            except tf.errors.InvalidArgumentError as error:  # the graph checks its result
                raise JobError(f"{self.name}: {first_line(error)}; the model or its weights are broken") from error

        # One by one, on all cores: threads that share the function would crash it, as KerasRuntime says.
        strengths = np.broadcast_to(strength, len(batch))
        return np.concatenate([restore(*each) for each in zip(np.split(batch, len(batch)), strengths, strict=True)])

    def operators(self) -> dict[str, int]:
        graph = self._function.graph.as_graph_def()
        nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
        return dict(Counter(node.op for node in nodes).most_common())


def _without_card(inputs: Any, task: str | None) -> dict[str, Any]:
    scale = get_task(task).scale if task else 1
    return {"scale": scale, "channels": inputs["image"].shape[3], "conditional": "level" in inputs, "level": None}
