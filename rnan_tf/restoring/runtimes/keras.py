"""Run a Keras model."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from queue import LifoQueue

import keras
import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.restoring.runtimes.runtime import Runtime, count_cores

# Tiles at a time on JAX, on accelerators and on CPUs: batches are filled up to so many.
BATCH = {True: 16, False: 4}
# Tiles before another copy of a model is made; TensorFlow traces it anew, which takes as long as about so many.
TILES_A_COPY = 16


class KerasRuntime(Runtime):
    """A Keras model.

    On CPUs with TensorFlow, tiles are restored side by side, each by a thread with a copy of the model: threads that
    share one of TensorFlow's functions crash it, or get wrong pixels, where oneDNN computes with AVX-512. Copies are
    made as tiles come in, so that a small photograph does not wait for them.

    Args:
        model: the network, for images of any size.
        card: what it is for; None: the model's own.
        name: for messages.
        copies: how many there may be; 0 where the model's weights may change.
    """

    def __init__(self, model: RNAN, card: ModelCard | None = None, name: str = "the model", copies: int = 0):
        super().__init__(name, card or card_of(model, name))
        self.one_shape = keras.backend.backend() == "jax"
        if self.one_shape:
            self.batch = BATCH[_has_accelerator()]
        else:
            # Where there is a GPU, Keras would compile every tile shape with XLA, which cannot do the attention's loop.
            model.jit_compile = False
        self.model, self._copies = model, 0 if self.one_shape or _has_accelerator() else copies
        self._tiles, self._idle = 0, LifoQueue[RNAN]()
        self._idle.put(model)
        if model.space_to_depth == 1:  # attention between all pixels of a tile: its cost grows with the tile's area
            self.best_tile, self.best_overlap = 64, 8

    @classmethod
    def open(cls, source: str | Path, task: str | None = None, precision: str = "float32") -> "KerasRuntime":
        """Load a model; see `rnan_tf.network.loading.load_model`, and `open_runtime` for the rest."""
        model = load_model(source)
        if precision == "bfloat16":
            if not has_bfloat16():
                raise InputError("this processor has no instructions for bfloat16; leave `precision` out")
            model = model.rebuild(dtype="mixed_bfloat16")
        return cls(model, card_of(model, str(source), task), str(source), count_cores() - 1)

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        if self.one_shape:
            missing = -len(batch) % self.batch
            all_of_it = batch, np.broadcast_to(strength, len(batch))
            filled = (np.concatenate([part, np.repeat(part[:1], missing, axis=0)]) for part in all_of_it)
            return self._restore(self.model, *filled)[: len(batch)]
        if _has_accelerator():
            return self._restore(self.model, batch, strength)
        self._tiles += len(batch)
        if self._copies and self._tiles > TILES_A_COPY:
            self._copies, self._tiles = self._copies - 1, 0
            self._idle.put(self.model.rebuild())
        return self.side_by_side(self._restore_by_any, batch, strength)

    def _restore_by_any(self, tile: np.ndarray, strength: float) -> np.ndarray:
        model = self._idle.get()
        try:
            return self._restore(model, tile, strength)
        finally:
            self._idle.put(model)

    def _restore(self, model: RNAN, tiles: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        inputs = self.inputs(tiles, strength)
        return np.asarray(model.predict_on_batch(inputs if self.card.conditional else inputs["image"]), np.float32)

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
