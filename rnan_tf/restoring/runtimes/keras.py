"""Run a Keras model."""

from collections import Counter
from functools import cache
from pathlib import Path

import keras
import numpy as np

from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.restoring.runtimes.runtime import Runtime


class KerasRuntime(Runtime):
    """A Keras model.

    Args:
        model: the network, for images of any size.
        card: what it is for; None: the model's own.
        name: for messages.
    """

    def __init__(self, model: RNAN, card: ModelCard | None = None, name: str = "the model"):
        super().__init__(name, card or card_of(model, name))
        # Where there is a GPU, Keras would compile every tile shape with XLA, which cannot do the attention's loop.
        model.jit_compile = False
        model.make_predict_function()  # before threads share it
        self.model = model
        if model.space_to_depth == 1:  # attention between all pixels of a tile: its cost grows with the tile's area
            self.best_tile = 64

    @classmethod
    def open(cls, source: str | Path, task: str | None = None) -> "KerasRuntime":
        """Load a model; see `rnan_tf.network.loading.load_model`, and `open_runtime` for `task`."""
        model = load_model(source)
        return cls(model, card_of(model, str(source), task), str(source))

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        def restore(tiles: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
            inputs = self.inputs(tiles, strength)
            return np.asarray(
                self.model.predict_on_batch(inputs if self.card.conditional else inputs["image"]), np.float32
            )

        return restore(batch, strength) if _has_accelerator() else self.side_by_side(restore, batch, strength)

    def operators(self) -> dict[str, int]:
        return dict(Counter(type(layer).__name__ for layer in self.model.layers).most_common())


@cache
def _has_accelerator() -> bool:
    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())
