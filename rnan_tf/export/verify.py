"""Compare every artifact of a model with the model itself: quality, size, speed, memory, operators.

What is measured goes into report.md, report.json and crops.png.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rnan_tf.export import artifacts
from rnan_tf.export.tflite.exporting import tolerance
from rnan_tf.restoring.tiling import Tiling, model_predictor, restore
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import psnr, score
from rnan_tf.tasks.task import Task


@dataclass
class Row:
    """What is measured of an artifact; the Keras model's own row is the first.

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


# Floating point may differ by rounding only.
EXACT = 0.01


def allowed_loss(name: str, task: Task) -> float:
    """Return the greatest loss of PSNR, dB, that an artifact may have.

    Args:
        name: of the file; TASK-VARIANT.tflite tells the variant.
        task: what it restores.
    """
    path = Path(name)
    return tolerance(path.stem.rpartition("-")[2], task.name) if path.suffix == ".tflite" else EXACT


def measure(model, source: Path, loaded, task: Task, level: float, files, tile: int) -> tuple[list[Row], np.ndarray]:
    """Measure the model and its artifacts.

    Args:
        model: the Keras model.
        source: its file.
        loaded: `artifacts.Artifact`s.
        task: what it restores.
        level: at which level.
        files: clean images.
        tile: height and width of the tiles that are timed and restored.

    Returns:
        (rows, the Keras model's first; crops side by side, (H, W, 3) uint8).
    """
    keras_predict = model_predictor(model, level / 255)
    predictors = {source.name: keras_predict, **{artifact.name: artifact.predict for artifact in loaded}}
    rows = [Row(source.name, source.stat().st_size / 1e6)]
    rows += [Row(a.name, a.megabytes, operators=a.operators, tolerance=allowed_loss(a.name, task)) for a in loaded]
    outputs = {row.name: [] for row in rows}
    cleans, tiling = [], Tiling(tile, fixed=True)
    for index, file in enumerate(tqdm(files, unit="image", leave=False, disable=None)):
        clean = read_clean(file, task, level)
        degraded = task.degrade(clean, (0, index), level)
        cleans.append(clean)
        for name, predict in predictors.items():
            outputs[name].append(restore(predict, degraded, model.scale, tiling))
    reference = outputs[source.name]
    shape = (1, tile, tile, task.channels)
    latencies = artifacts.tile_latencies(predictors, np.random.default_rng(0).random(shape, np.float32))
    paths = {source.name: source, **{artifact.name: artifact.path for artifact in loaded}}
    for row in rows:
        scores = [
            score(out, clean, task.protocol(level))["psnr"]
            for out, clean in zip(outputs[row.name], cleans, strict=True)
        ]
        row.psnr = float(np.mean(scores))
        row.loss = rows[0].psnr - row.psnr
        row.latency_ms = latencies[row.name]
        row.ratio = row.latency_ms / latencies[source.name]
        row.peak_megabytes = artifacts.peak_memory(paths[row.name], shape, level)
        both = list(zip(outputs[row.name], reference, strict=True))
        row.largest_difference = max(int(np.abs(a.astype(int) - b).max()) for a, b in both)
        if row.largest_difference:
            row.psnr_to_keras = psnr(
                np.concatenate([a.ravel() for a, _ in both]), np.concatenate([b.ravel() for _, b in both])
            )
    return rows, side_by_side(cleans[0], {row.name: outputs[row.name][0] for row in rows})


def side_by_side(clean: np.ndarray, outputs: dict[str, np.ndarray], size: int = 128) -> np.ndarray:
    """Put the middle squares of the truth and of all outputs in a row, captions above.

    Args:
        clean: (H, W, C) uint8.
        outputs: name -> (H, W, C) uint8.
        size: of a square, pixels.

    Returns:
        (size + 16, count * size, 3) uint8.
    """
    from PIL import Image, ImageDraw

    images = {"truth": clean, **outputs}
    size = min(size, *clean.shape[:2])
    y, x = ((side - size) // 2 for side in clean.shape[:2])
    crops = [np.broadcast_to(image[y : y + size, x : x + size], (size, size, 3)) for image in images.values()]
    caption = Image.new("RGB", (size * len(crops), 16), "white")
    for i, name in enumerate(images):
        ImageDraw.Draw(caption).text((i * size + 2, 2), name[: size // 7], fill="black")
    return np.concatenate([np.asarray(caption), np.concatenate(crops, axis=1)])


def markdown(rows: list[Row], task: Task, level: float, images: int, tile: int) -> str:
    """Return the report as Markdown."""
    at = f", {task.level_name} {level:g}" if task.level_name else ""
    lines = [
        f"# Artifacts of {rows[0].name}: {task.name}{at}",
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
