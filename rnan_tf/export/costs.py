"""What a network costs: time in turn with others, and the memory of a process of its own."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnan_tf.errors import JobError
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.tiling import Predictor

ROOT = Path(__file__).resolve().parents[2]


def latencies(predictors: Mapping[str, Predictor], tile: np.ndarray, repeats: int = 15) -> dict[str, float]:
    """Time networks on one tile in turn, so that a slow moment of the machine meets all of them alike.

    Args:
        predictors: name -> function of a batch.
        tile: (1, H, W, C) float32.
        repeats: timed calls of each, after two that are not.

    Returns:
        name -> median, milliseconds.
    """
    times = {name: [] for name in predictors}
    for repeat in range(repeats + 2):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(tile)
            if repeat >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory(path: Path, tile_shape: tuple[int, ...], strength: float, task: str | None = None) -> float:
    """Return the peak resident memory of a fresh process that loads a network and restores a tile.

    Args:
        path: a `.keras` file or an export.
        tile_shape: (1, H, W, C).
        strength: in the user's unit.
        task: what it was trained for, if it does not say.

    Returns:
        10**6 bytes; the runtime itself is part of it.

    Raises:
        JobError: the process failed.
    """
    arguments = [str(path.resolve()), json.dumps(tile_shape), str(strength), *([task] if task else [])]
    command = [sys.executable, "-m", "rnan_tf.export.costs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise JobError(f"{path}: failed in a process of its own: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return float(done.stdout.split()[-1])


def _restore_one_tile(path: str, tile_shape: str, strength: str, task: str | None = None) -> None:
    open_runtime(path, task).run(np.full(json.loads(tile_shape), 0.5, np.float32), float(strength))
    # VmHWM is this process's own; getrusage's ru_maxrss of a child starts at the parent's size.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    print(int(status["VmHWM"].split()[0]) * 1024 / 1e6)


if __name__ == "__main__":
    _restore_one_tile(*sys.argv[1:])
