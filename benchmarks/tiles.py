"""Time tiles, and measure what smaller ones lose: `python benchmarks/tiles.py --data photos/`.

The time is the processor's, on one thread, which other jobs disturb little. What is lost is PSNR, of the middle of each
photograph, against tiles of 128 with an overlap of 16.
"""

import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import numpy as np
from tqdm import tqdm

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.photos.finding import list_images
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import psnr

TILES, BATCHES, OVERLAPS = (64, 96, 128, 192), (1, 4), (16, 12)
HEIGHT, WIDTH = 448, 640  # of the pieces
# (task, strength) -> the (tile, overlap) that are compared with the first.
LOSSES = {
    ("denoise", 50): ((128, 16), (128, 12), (128, 8), (96, 16), (96, 12), (96, 8), (64, 8)),
    ("sr-x2", 0): ((128, 16), (96, 12), (96, 8), (64, 8)),
}


def microseconds(restorer: Restorer, tile: int, batch: int, runs: int = 5) -> float:
    """Return the median processor time of a pixel of a tile."""
    tiles = np.random.default_rng(0).random((batch, tile, tile, 3), np.float32)
    network, times = restorer.runtime.model, []
    inputs = {"image": tiles, "level": np.full(batch, 0.1, np.float32)}
    for _ in range(runs + 1):
        start = time.process_time()
        network.predict_on_batch(inputs)
        times.append(time.process_time() - start)
    return 1e6 * statistics.median(times[1:]) / tiles[..., 0].size


def losses(task_name: str, strength: float, files: list[Path]) -> dict[tuple[int, int], float]:
    """Return the mean PSNR of each tiling, less the first's, dB."""
    restorer = Restorer.from_preset(task_name)
    scores = {sizes: [] for sizes in LOSSES[task_name, strength]}
    for file in tqdm(files, desc=task_name, disable=None):
        clean = read_clean(file, restorer.task)
        top, left = ((size - piece) // 2 for size, piece in zip(clean.shape[:2], (HEIGHT, WIDTH), strict=True))
        clean = clean[top : top + HEIGHT, left : left + WIDTH]
        degraded = restorer.task.degrade(clean, (0, 1), strength)
        for tile, overlap in scores:
            sigma = {"sigma": strength} if strength else {}
            scores[tile, overlap].append(psnr(restorer(degraded, tile=tile, overlap=overlap, **sigma), clean))
    means = {sizes: float(np.mean(values)) for sizes, values in scores.items()}
    first = next(iter(means.values()))
    return {sizes: mean - first for sizes, mean in means.items()}


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure and print."""
    parser = Parser(prog="tiles.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, nargs="+", help="clean photographs of 640x448 and more")
    files = list_images(parser.parse_args(argv).data)
    restorer = Restorer.from_preset("denoise")
    print("| tile | batch | us a pixel of the tile |" + "".join(f" overlap {overlap} |" for overlap in OVERLAPS))
    for tile in TILES:
        for batch in BATCHES:
            each = microseconds(restorer, tile, batch)
            of_photograph = (f" {each * (tile / (tile - overlap)) ** 2:.1f} |" for overlap in OVERLAPS)
            print(f"| {tile} | {batch} | {each:.1f} |" + "".join(of_photograph), flush=True)
    for (task_name, strength), _ in LOSSES.items():
        for (tile, overlap), loss in losses(task_name, strength, files).items():
            print(f"{task_name} {strength or ''}: tile {tile}, overlap {overlap}: {loss:+.4f} dB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
