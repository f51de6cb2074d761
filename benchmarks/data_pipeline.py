"""How many patches a second does the data pipeline make? Prints the median of five runs for each task."""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

from rnan_tf.photos.finding import list_images
from rnan_tf.tasks.task import TASKS
from rnan_tf.training.patches import PatchSpec, patch_batches
from rnan_tf.training.split import demo_photographs

CASES = (
    ("denoise", "50"),
    ("denoise", "0-75"),
    ("denoise-gray", "50"),
    ("demosaic", None),
    ("jpeg", "10"),
    ("jpeg", "5-60"),
    ("sr-x2", None),
    ("sr", "3"),
    ("sr-x4", None),
)


def patches_per_second(spec: PatchSpec, files, batch_size: int, steps: int) -> float:
    """Return the median rate of five runs over `steps` batches."""
    batches = iter(patch_batches(files, spec, batch_size))
    for _ in range(20):
        next(batches)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(steps):
            next(batches)
        rates.append(steps * batch_size / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", help="photographs; default: scikit-image's")
    parser.add_argument("--patch-size", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    files = list_images(args.data) if args.data else demo_photographs()[0]
    print(f"degraded patches of {args.patch_size}x{args.patch_size}, {os.cpu_count()} cores")
    for name, strength in CASES:
        task = TASKS[name]
        spec = PatchSpec(task, task.strength.parse(strength) if task.strength else (0, 0), args.patch_size, seed=0)
        rate = patches_per_second(spec, files, args.batch_size, args.steps)
        print(f"{name:13s} strength {strength or '-':5s} {rate:8.0f} patches/s", flush=True)


if __name__ == "__main__":
    main()
