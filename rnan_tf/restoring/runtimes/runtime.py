"""What every kind of network has in common."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from rnan_tf.errors import InputError, first_line
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.tiling import Tiling


class Runtime(ABC):
    """A trained network that restores batches of tiles.

    Args:
        name: of its file, for messages.
        card: what it is for.

    Attributes:
        best_tile: height and width of the tiles that take it the least time, where its sizes are not fixed.
        best_overlap: how far they overlap then.
        batch: how many tiles it takes at a time.
        one_shape: whether it compiles a program for each shape of a batch, so that all tiles should have one.
    """

    best_tile, best_overlap = Tiling.tile, Tiling.overlap
    one_shape = False

    def __init__(self, name: str, card: ModelCard):
        self.name, self.card = name, card
        self.batch = 4 * count_cores()  # so many that each core has some

    @property
    def tiling(self) -> Tiling:
        """How images are cut up for it."""
        if self.card.tile is None:
            return Tiling(self.best_tile, self.best_overlap, fixed=self.one_shape, batch=self.batch)
        return Tiling(self.card.tile, self.card.overlap or 0, fixed=True, batch=self.batch)

    def run(self, batch: np.ndarray, strength: float | np.ndarray = 0.0) -> np.ndarray:
        """Restore tiles.

        Args:
            batch: (N, H, W, channels) float32 in [0, 1]. If the card has a tile, H and W are at most that; smaller ones
                are reflected up to it, and the result is cropped.
            strength: in the user's unit, one or (N,), one for each tile; a network that is not told it ignores it.

        Returns:
            (N, scale * H, scale * W, channels) float32, not clipped.

        Raises:
            InputError: the tiles are too large, or the network does not do what its card says.
        """
        tile, scale = self.card.tile, self.card.scale
        if tile is None:
            return self._answer(batch, strength)
        height, width = batch.shape[1:3]
        if max(height, width) > tile:
            raise InputError(f"{self.name}: takes tiles of up to {tile}x{tile}, not {height}x{width}")
        padded = np.pad(batch, ((0, 0), (0, tile - height), (0, tile - width), (0, 0)), mode="reflect")
        return self._answer(padded, strength)[:, : height * scale, : width * scale]

    def _answer(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        count, height, width, channels = batch.shape
        wanted = count, height * self.card.scale, width * self.card.scale, channels
        restored = self._run(batch, strength)
        if restored.shape != wanted:
            raise InputError(f"{self.name}: makes {restored.shape} of {batch.shape}, not {wanted}; export it again")
        return restored

    def at(self, strength: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function that restores batches at one strength."""
        return partial(self.run, strength=strength)

    def side_by_side(
        self, restore: Callable[[np.ndarray, float], np.ndarray], batch: np.ndarray, strength: float | np.ndarray
    ) -> np.ndarray:
        """Restore a batch's tiles on as many threads as there are cores: tiles share nothing, operators' threads wait.

        Args:
            restore: maps a batch of one tile, and its strength, to its restoration, from any thread.
            batch: as for `run`.
            strength: as for `run`.
        """
        strengths = np.broadcast_to(strength, len(batch)).tolist()
        return np.concatenate(list(self._threads.map(restore, np.split(batch, len(batch)), strengths)))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count_cores())

    @abstractmethod
    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        """Restore tiles that are as large as the network wants them."""

    @abstractmethod
    def operators(self) -> dict[str, int]:
        """Return what its file computes with: an operator's name -> how often, the most frequent first."""

    def check_signature(self, inputs: Mapping[str, Sequence[Any]]) -> None:
        """Check that a file takes what its card says, and read its tile off the file if the card has none.

        Args:
            inputs: name -> shape, whose first number is of the batch; of sizes that are not fixed no positive number.

        Raises:
            InputError: it is another network's.
        """
        wanted = {"image", "level"} if self.card.conditional else {"image"}
        if set(inputs) != wanted or len(inputs["image"]) != 4 or inputs["image"][3] != self.card.channels:
            told = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
            raise InputError(f"{self.name}: takes {told}, which its card does not say; export it again")
        sides = {side for side in inputs["image"][1:3] if isinstance(side, int) and side > 0}
        if not sides and self.card.tile is None:
            return
        if len(sides) != 1 or self.card.tile not in (None, *sides):
            shape = list(inputs["image"])
            raise InputError(
                f"{self.name}: takes images of {shape}, not square tiles of its card's size; export it again"
            )
        (tile,) = sides
        self.card = replace(self.card, tile=tile)

    def inputs(self, batch: np.ndarray, strength: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return the network's inputs by name, for `run`'s arguments; it knows strengths as a part of 255."""
        inputs = {"image": np.ascontiguousarray(batch, np.float32)}
        if self.card.conditional:
            inputs["level"] = np.full(len(batch), np.divide(strength, 255), np.float32)
        return inputs


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def damaged(name: str, error: BaseException) -> InputError:
    """Return the error of a model file that its runtime cannot load."""
    return InputError(f"{name}: cannot be loaded ({first_line(error)}); copy or export it again")
