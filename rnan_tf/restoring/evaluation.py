"""Degrade clean images, restore them, and measure the results by the paper's protocol."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.restoring.tiling import Predictor, Tiling, restore
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import Task

# (name, clean image) to be degraded, or (name, clean image, degraded image).
Sample = tuple[str, np.ndarray] | tuple[str, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One image that was degraded, restored and measured.

    Attributes:
        name: of its file.
        clean: (H, W, C) uint8.
        degraded: (H / scale, W / scale, C) uint8.
        restored: (H, W, C) uint8.
        scores: {"psnr": decibels, "ssim": at most 1}, for JPEG also "psnrb".
    """

    name: str
    clean: np.ndarray
    degraded: np.ndarray
    restored: np.ndarray
    scores: dict[str, float]


def evaluate(
    images: Iterable[Sample],
    task: Task,
    strength: float = 0,
    predict: Predictor | None = None,
    tiling: Tiling | None = None,
    seed: int = 0,
    restore_alone: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[Evaluated]:
    """Degrade clean images, restore them and measure the results, one after the other.

    Args:
        images: (name, clean image as `Task.clean` returns it), with the degraded image where it is given.
        task: the task.
        strength: in the user's unit.
        predict: the network; None measures the degraded input, enlarged bicubically where the task enlarges.
        tiling: see `rnan_tf.restoring.tiling.restore`.
        seed: with an image's index it decides about the noise.
        restore_alone: (H, W, C) uint8 degraded image -> the restored one, instead of `predict`.

    Yields:
        What became of each image.

    Raises:
        InputError: an image is too small for SSIM's window inside the borders that its task leaves out.
    """
    for index, (name, clean, *given) in enumerate(images):
        height, width = clean.shape[:2]
        least = task.scoring.least_side
        if min(height, width) < least:
            raise InputError(
                f"{name}: {width}x{height} is too small to be measured, which takes at least {least}x{least}"
            )
        degraded = given[0] if given else task.degrade(clean, (seed, index), strength)
        if restore_alone:
            restored = restore_alone(degraded)
        else:
            restored = restore(predict, degraded, task.scale, tiling) if predict else task.baseline(degraded)
        yield Evaluated(name, clean, degraded, restored, score(restored, clean, task.scoring))


def mean_scores(scores: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each score.

    Args:
        scores: those of at least one image.
    """
    rows = list(scores)
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
