"""Measure a model, or the degraded input alone, by the paper's protocol."""

from collections.abc import Iterable

import numpy as np

from rnan_tf.restoring.tiling import Predictor, Tiling, restore
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import Task


def evaluate(
    images: Iterable[tuple[str, np.ndarray]],
    task: Task,
    level: float,
    predict: Predictor | None = None,
    tiling: Tiling | None = None,
    seed: int = 0,
) -> dict:
    """Degrade clean images, restore them and measure the results.

    Args:
        images: (name, clean image as `Task.clean` returns it) pairs.
        task: the task.
        level: a single level.
        predict: the network; None measures the degraded input, enlarged bicubically for `sr`.
        tiling: see `rnan_tf.restoring.tiling.restore`.
        seed: with an image's index it decides about the noise.

    Returns:
        {"task", "level", "mean": {"psnr", "ssim"}, "images": [{"name", "psnr", "ssim"}, ...]}; decibels, and SSIM at
        most 1. For JPEG also "psnrb" in each.
    """
    protocol, rows = task.protocol(level), []
    for index, (name, clean) in enumerate(images):
        degraded = task.degrade(clean, (seed, index), level)
        if predict is None:
            restored = task.baseline(degraded, level)
        else:
            restored = restore(predict, degraded, task.scale(level), tiling)
        rows.append({"name": name, **score(restored, clean, protocol)})
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "name"}
    return {"task": task.name, "level": level if task.level_name else None, "mean": mean, "images": rows}
