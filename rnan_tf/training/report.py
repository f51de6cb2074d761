"""What a run shows: the before/after panel, the curves, the closing table."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from rnan_tf.files import write_atomically
from rnan_tf.photos.panels import side_by_side
from rnan_tf.restoring.evaluation import Sample, evaluate, mean_scores
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import Task

PANEL_CROP = 160


def bilinear_demosaic(mosaic: np.ndarray) -> np.ndarray:
    """Fill in the colours of a GRBG mosaic from their nearest samples, the baseline of the closing table.

    Args:
        mosaic: (H, W, 3) uint8, unsampled positions zero.

    Returns:
        (H, W, 3) uint8.
    """
    red_blue = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    green = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    planes = [
        ndimage.convolve(mosaic[..., i].astype(float), kernel, mode="mirror")
        for i, kernel in enumerate((red_blue, green, red_blue))
    ]
    return np.clip(np.rint(np.stack(planes, axis=2)), 0, 255).astype(np.uint8)


def closing_table(images: Sequence[Sample], task: Task, strength: float, restored_psnr: float) -> str:
    """Return the table of mean PSNRs over the validation photographs.

    Args:
        images: what to measure on; see `evaluate`.
        task: the task.
        strength: in the user's unit.
        restored_psnr: the model's, dB.

    Returns:
        Lines of text.
    """
    found = list(evaluate(images, task, strength))
    rows = [(task.input_text, mean_scores(image.scores for image in found)["psnr"])]
    if task.mosaic:
        scores = [score(bilinear_demosaic(image.degraded), image.clean, task.scoring) for image in found]
        rows.append(("bilinear interpolation", mean_scores(scores)["psnr"]))
    rows.append(("model", restored_psnr))
    lines = [f"PSNR on {len(images)} held-out photograph(s), task {task.name}{task.at(strength)}:"]
    return "\n".join([*lines, *(f"  {name:24s} {value:6.2f} dB" for name, value in rows)])


def panel(degraded: np.ndarray, restored: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Put the most detailed square of an image side by side: before, after, truth.

    Args:
        degraded: (H, W, C) uint8, at the clean image's size.
        restored: the same.
        clean: the same.

    Returns:
        (crop + caption, 3 * crop, 3) uint8.
    """
    height, width = clean.shape[:2]
    crop = min(PANEL_CROP, height, width)
    detail = ndimage.uniform_filter(ndimage.gaussian_gradient_magnitude(clean.mean(axis=2), 1.0), crop)
    half = crop // 2
    inside = detail[half : height - crop + half + 1, half : width - crop + half + 1]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    images = {"before": degraded, "after": restored, "truth": clean}
    return side_by_side(images, crop, (int(y), int(x)))


def write_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Draw loss and PSNR over the steps into a PNG.

    Args:
        path: the file.
        history: rows with step, loss, psnr and val_psnr.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in history]
    left.plot(steps, [row["loss"] for row in history], marker=".")
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.plot(steps, [row["psnr"] for row in history], marker=".", label="training patches")
    right.plot(steps, [row["val_psnr"] for row in history], marker=".", label="validation photographs")
    right.set(xlabel="step", ylabel="PSNR (dB)")
    right.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    write_atomically(path, image.getvalue())
