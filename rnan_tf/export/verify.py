"""Compare every artifact of a model with the model itself: quality, size, speed, memory, operators.

What is measured goes into report.md, report.json and crops.png.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rnan_tf.export.artifacts import megabytes
from rnan_tf.export.costs import latencies, peak_memory
from rnan_tf.export.tflite.exporting import tolerance
from rnan_tf.photos.panels import side_by_side
from rnan_tf.restoring.evaluation import mean_scores
from rnan_tf.restoring.runtimes import Runtime, open_runtime
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import psnr, score
from rnan_tf.tasks.task import Task, get_task


@dataclass
class Row:
    """What is measured of an export; the Keras model's own row is the first.

    Attributes:
        name: of the file or folder.
        megabytes: its size.
        psnr: against the clean images, dB.
        loss: the Keras model's PSNR minus its own, dB.
        psnr_to_keras: against the Keras model's 8-bit output, dB; None where they are equal.
        largest_difference: to that output, in 8-bit levels.
        latency_ms: median for one tile.
        ratio: that, over the Keras model's in the same run.
        peak_megabytes: peak resident memory of a process that loads it and restores a tile.
        operators: name -> count, the most frequent first.
        tolerance: greatest `loss` allowed, dB; None for the model itself.
    """

    name: str
    megabytes: float
    psnr: float = float("nan")
    loss: float = 0.0
    psnr_to_keras: float | None = None
    largest_difference: int = 0
    latency_ms: float = float("nan")
    ratio: float = 1.0
    peak_megabytes: float = float("nan")
    operators: dict[str, int] | None = None
    tolerance: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the loss is within the tolerance."""
        return self.tolerance is None or self.loss <= self.tolerance


CROP = 128  # pixels
# Floating point may differ by rounding only.
EXACT = 0.01


def allowed_loss(runtime: Runtime) -> float:
    """Return the greatest loss of PSNR, dB, that an export may have.

    Args:
        runtime: the export; the card of a `.tflite` file says its variant.
    """
    variant = runtime.card.details.get("variant")
    return tolerance(variant) if variant else EXACT


def measure(
    model: Runtime, source: Path, paths: Mapping[str, Path], strength: float, files: Sequence[Path], tile: int
) -> tuple[list[Row], np.ndarray]:
    """Measure a model and its exports.

    Args:
        model: the Keras model.
        source: its file.
        paths: see `rnan_tf.export.artifacts.find_artifacts`.
        strength: to degrade at, in the user's unit.
        files: clean images.
        tile: height and width of the tiles that are timed and restored.

    Returns:
        (rows, the Keras model's first; crops side by side, (H, W, 3) uint8).

    Raises:
        InputError: an export cannot be loaded or is another task's.
    """
    task = get_task(model.card.task)
    runtimes = {source.name: model, **{name: open_runtime(path, task.name) for name, path in paths.items()}}
    predictors = {name: runtime.at(strength) for name, runtime in runtimes.items()}
    images = _restore_all(predictors, files, task, strength, tile)
    shape = (1, tile, tile, task.channels)
    times = latencies(predictors, np.random.default_rng(0).random(shape, np.float32))
    rows = []
    for name, path in {source.name: source, **paths}.items():
        row = Row(name, megabytes(path), latency_ms=times[name], ratio=times[name] / times[source.name])
        row.psnr = mean_scores(score(image.restored[name], image.clean, task.scoring) for image in images)["psnr"]
        row.peak_megabytes = peak_memory(path, shape, strength, task.name)
        if name != source.name:
            row.loss = rows[0].psnr - row.psnr
            row.operators, row.tolerance = runtimes[name].operators(), allowed_loss(runtimes[name])
            row.largest_difference, row.psnr_to_keras = _difference(
                [image.restored[name] for image in images], [image.restored[source.name] for image in images]
            )
        rows.append(row)
    return rows, side_by_side({"truth": images[0].clean, **images[0].restored}, CROP)


@dataclass(frozen=True, eq=False)
class _Restored:
    """An image that all networks restored: the clean one, and by the networks' names the results."""

    clean: np.ndarray
    restored: dict[str, np.ndarray]


def _restore_all(predictors, files, task, strength, tile):
    tiling, images = Tiling(tile, min(Tiling.overlap, tile // 8 * 4), fixed=True), []
    for index, file in enumerate(tqdm(files, unit="image", leave=False, disable=None)):
        clean = read_clean(file, task)
        degraded = task.degrade(clean, (0, index), strength)
        results = {name: restore(predict, degraded, task.scale, tiling) for name, predict in predictors.items()}
        images.append(_Restored(clean, results))
    return images


def _difference(ours, reference):
    """Return the largest difference of 8-bit images in levels, and their PSNR, None where they are equal."""
    largest = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(ours, reference, strict=True))
    if not largest:
        return 0, None
    return largest, psnr(*(np.concatenate([image.ravel() for image in images]) for images in (ours, reference)))


def markdown(rows: list[Row], task: Task, strength: float, images: int, tile: int) -> str:
    """Return the report as Markdown.

    Args:
        rows: see `measure`.
        task: what the networks restore.
        strength: that was measured at, in the user's unit.
        images: how many images were restored.
        tile: height and width of their tiles.
    """
    lines = [
        f"# Artifacts of {rows[0].name}: {task.name}{task.at(strength)}",
        "",
        f"{images} images; latency and memory for one {tile}x{tile} tile, medians in one run; memory is the",
        "peak of a process that loads the artifact and restores the tile, its runtime included.",
        "",
        "| artifact | MB | PSNR | loss | allowed | to Keras | largest difference | ms | ratio | peak MB | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        to_keras = "equal" if row.psnr_to_keras is None else f"{row.psnr_to_keras:.1f} dB"
        allowed = "" if row.tolerance is None else f"{row.tolerance:.2f} dB"
        lines.append(
            f"| {row.name} | {row.megabytes:.2f} | {row.psnr:.2f} dB | {row.loss:+.3f} dB | {allowed} | {to_keras} | "
            f"{row.largest_difference} | {row.latency_ms:.1f} | {row.ratio:.2f} | {row.peak_megabytes:.0f} | "
            f"{'passes' if row.passes else 'FAILS'} |"
        )
    lines += ["", "Operators:", ""]
    for row in rows:
        if row.operators:
            counts = ", ".join(f"{name} {count}" for name, count in list(row.operators.items())[:16])
            lines.append(f"- {row.name}: {counts}")
    return "\n".join(lines) + "\n"
