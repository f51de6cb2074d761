"""Degraded patches of real photographs, which exports are calibrated on and compared with their model on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnan_tf.photos.pixels import from_float, to_float
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.metrics import psnr
from rnan_tf.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Patch:
    """A degraded patch.

    Attributes:
        degraded: (1, tile, tile, C) float32 in [0, 1].
        clean: (scale * tile, scale * tile, C) uint8.
        strength: its degradation's, in the user's unit.
    """

    degraded: np.ndarray
    clean: np.ndarray
    strength: float


def cut_patches(
    files: Sequence[Path], task: Task, strengths: tuple[float, float] | None, tile: int, count: int
) -> list[Patch]:
    """Cut patches out of photographs, a third each at random, the darkest and the brightest of sixteen.

    Args:
        files: photographs.
        task: how they are degraded.
        strengths: (lowest, highest); those of the paper in between take turns. None for a task without.
        tile: height and width of the degraded patches.
        count: how many.

    Returns:
        The patches, the same for the same files.

    Raises:
        InputError: no photograph can be read and is large enough.
    """
    size = tile * task.scale
    chosen = [files[i * len(files) // count] for i in range(count)] if len(files) > count else files
    images = [image for _, image in read_images(chosen, task, min_size=size)]
    turns = [0.0]
    if strengths:
        low, high = strengths
        turns = [strength for strength in task.strength.published if low <= strength <= high] or [low]
    rng, patches = np.random.default_rng(0), []
    for number in range(count):
        clean = _crop(images[number % len(images)], size, ("random", "dark", "bright")[number % 3], rng)
        strength = turns[number // 3 % len(turns)]
        degraded = task.degrade(clean, (0, number), strength)
        patches.append(Patch(to_float(degraded)[None], clean, strength))
    return patches


def _crop(image, size, kind, rng):
    # At even positions, of which mosaics have the same phase.
    corners = [[int(rng.integers((side - size) // 2 + 1)) * 2 for side in image.shape[:2]] for _ in range(16)]
    crops = [image[y : y + size, x : x + size] for y, x in corners]
    return {"random": lambda crops, key: crops[0], "dark": min, "bright": max}[kind](crops, key=np.mean)


def mean_psnr(runtime: Runtime, patches: Sequence[Patch]) -> float:
    """Return the mean PSNR of restored patches, as 8-bit images, dB.

    Args:
        runtime: the network.
        patches: the patches.
    """
    restored = (from_float(runtime.run(patch.degraded, patch.strength)[0], np.uint8) for patch in patches)
    return float(np.mean([psnr(image, patch.clean) for image, patch in zip(restored, patches, strict=True)]))
