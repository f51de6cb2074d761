"""Compare every artifact of a model with the model itself: quality, size, speed, memory, operators.

What is measured goes into report.md, report.json and crops.png.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rnan_tf.export import artifacts
from rnan_tf.export.tflite.exporting import tolerance
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import psnr, score
from rnan_tf.tasks.task import Task, get_task


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
    return tolerance(path.stem.rpartition("-")[2], task) if path.suffix == ".tflite" else EXACT


def measure(
    model: Runtime, source: Path, paths: list[Path], strength: float, files: list[Path], tile: int
) -> tuple[list[Row], np.ndarray]:
    """Measure the model and its artifacts.

    Args:
        model: the Keras model.
        source: its file.
        paths: the artifacts, see `artifacts.find_artifacts`.
        strength: to degrade at, in the user's unit.
        files: clean images.
        tile: height and width of the tiles that are timed and restored.

    Returns:
        (rows, the Keras model's first; crops side by side, (H, W, 3) uint8).

    Raises:
        InputError: an artifact cannot be loaded or is another task's.
    """
    task = get_task(model.card.task)
    names = {artifacts.artifact_name(path): path for path in paths}
    runtimes = {name: open_runtime(path, task.name) for name, path in names.items()}
    predictors = {name: runtime.at(strength) for name, runtime in {source.name: model, **runtimes}.items()}
    rows = [Row(source.name, artifacts.megabytes(source))]
    for name, runtime in runtimes.items():
        size, operators = artifacts.megabytes(names[name]), runtime.operators()
        rows.append(Row(name, size, operators=operators, tolerance=allowed_loss(name, task)))
    outputs, scores, cleans = {row.name: [] for row in rows}, {row.name: [] for row in rows}, []
    tiling = Tiling(tile, fixed=True)
    bar = tqdm(files, unit="image", leave=False, disable=None)
    images = ((file.name, read_clean(file, task)) for file in bar)
    for image in evaluate(images, task, strength, predictors[source.name], tiling):
        cleans.append(image.clean)
        for name, predict in predictors.items():
            is_model = name == source.name
            restored = image.restored if is_model else restore(predict, image.degraded, task.scale, tiling)
            outputs[name].append(restored)
            scores[name].append(image.scores if is_model else score(restored, image.clean, task.scoring))
    shape = (1, tile, tile, task.channels)
    latencies = artifacts.tile_latencies(predictors, np.random.default_rng(0).random(shape, np.float32))
    for row in rows:
        row.psnr = mean_scores(scores[row.name])["psnr"]
        row.loss = rows[0].psnr - row.psnr
        row.latency_ms = latencies[row.name]
        row.ratio = row.latency_ms / latencies[source.name]
        row.peak_megabytes = artifacts.peak_memory({source.name: source, **names}[row.name], shape, strength, task.name)
        _compare(row, outputs[row.name], outputs[source.name])
    return rows, side_by_side(cleans[0], {row.name: outputs[row.name][0] for row in rows})


def _compare(row, outputs, reference):
    both = list(zip(outputs, reference, strict=True))
    row.largest_difference = max(int(np.abs(a.astype(int) - b).max()) for a, b in both)
    if row.largest_difference:
        ours, theirs = (np.concatenate([image.ravel() for image in images]) for images in zip(*both, strict=True))
        row.psnr_to_keras = psnr(ours, theirs)


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


def markdown(rows: list[Row], task: Task, strength: float, images: int, tile: int) -> str:
    """Return the report as Markdown."""
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
