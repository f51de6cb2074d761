"""Run a Keras model."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import keras
import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.restoring.runtimes.runtime import Runtime

# Tiles at a time on JAX, on accelerators and on CPUs: batches are filled up to so many.
BATCH = {True: 16, False: 4}


class KerasRuntime(Runtime):
    """A Keras model.

    Args:
        model: the network, for images of any size.
        card: what it is for; None: the model's own.
        name: for messages.
    """

    def __init__(self, model: RNAN, card: ModelCard | None = None, name: str = "the model"):
        super().__init__(name, card or card_of(model, name))
        self.one_shape = keras.backend.backend() == "jax"
        if self.one_shape:
            self.batch = BATCH[_has_accelerator()]
        else:
            # Where there is a GPU, Keras would compile every tile shape with XLA, which cannot do the attention's loop.
            model.jit_compile = False
        self.model = model
        if model.space_to_depth == 1:  # attention between all pixels of a tile: its cost grows with the tile's area
            self.best_tile = 64

    @classmethod
    def open(cls, source: str | Path, task: str | None = None, precision: str = "float32") -> "KerasRuntime":
        """Load a model; see `rnan_tf.network.loading.load_model`, and `open_runtime` for the rest."""
        model = load_model(source)
        if precision == "bfloat16":
            if not has_bfloat16():
                raise InputError("this processor has no instructions for bfloat16; leave `precision` out")
            model = model.rebuild(dtype="mixed_bfloat16")
        return cls(model, card_of(model, str(source), task), str(source))

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        def restore(tiles: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
            inputs = self.inputs(tiles, strength)
            return np.asarray(
                self.model.predict_on_batch(inputs if self.card.conditional else inputs["image"]), np.float32
            )

        if self.one_shape:
            missing = -len(batch) % self.batch
            all_of_it = batch, np.broadcast_to(strength, len(batch))
            return restore(*(np.concatenate([part, np.repeat(part[:1], missing, axis=0)]) for part in all_of_it))[
                : len(batch)
            ]
        return restore(batch, strength) if _has_accelerator() else self.one_by_one(restore, batch, strength)

    def operators(self) -> dict[str, int]:
        return dict(Counter(type(layer).__name__ for layer in self.model.layers).most_common())


def has_bfloat16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether bfloat16 is computed by instructions of its own; where that cannot be told, yes.

    Args:
        cpu_info: what Linux says of the processor.
    """
    if _has_accelerator() or not cpu_info.is_file():
        return True
    return re.search(r"^(flags|Features)\s*:.*\b(avx512_bf16|amx_bf16|bf16)\b", cpu_info.read_text(), re.M) is not None


@cache
def _has_accelerator() -> bool:
    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())
