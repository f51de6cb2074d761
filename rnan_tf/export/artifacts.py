"""The artifacts in a folder, each as something that restores tiles and can be measured."""

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnan_tf.errors import InputError, JobError
from rnan_tf.restoring.tiling import Predictor

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Artifact:
    """An exported model.

    Attributes:
        path: a .tflite or .onnx file, or the version folder of a SavedModel.
        predict: restores tiles.
        operators: name -> count.
    """

    path: Path
    predict: Predictor
    operators: dict[str, int]

    @property
    def name(self) -> str:
        """The file's name, or the SavedModel's with its version."""
        return self.path.name if self.path.is_file() else f"{self.path.parent.name}/{self.path.name}"

    @property
    def megabytes(self) -> float:
        """The size of all its files, 10**6 bytes."""
        files = [self.path] if self.path.is_file() else [file for file in self.path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files) / 1e6


def find_artifacts(folder: Path) -> list[Path]:
    """Return the artifacts of a folder: .tflite and .onnx files, and the newest version of each SavedModel.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that the exports were written to")
    files = [path for suffix in (".tflite", ".onnx") for path in sorted(folder.rglob(f"[!.]*{suffix}"))]
    newest = {}
    for path in folder.rglob("saved_model.pb"):
        version = path.parent
        if version.name.isdigit() and int(version.name) >= int(newest.get(version.parent, version).name):
            newest[version.parent] = version
    if not files and not newest:
        raise InputError(f"{folder}: no .tflite, no .onnx and no SavedModel in it; run the exports first")
    return [*sorted(newest.values()), *files]


def load(path: Path, level: float) -> Artifact:
    """Load an artifact with the runtime that it is for.

    Args:
        path: see `find_artifacts`.
        level: noise sigma on the 0-255 scale, for a conditional model.

    Returns:
        The artifact.
    """
    if path.is_dir():
        return _load_saved_model(path, level)
    from rnan_tf.restoring.runtimes import load_artifact

    runner = load_artifact(path, level=level)
    return Artifact(path, runner.predict, runner.operators())


def _load_saved_model(path, level):
    import tensorflow as tf

    function = tf.saved_model.load(str(path)).signatures["serve_float"]
    inputs = function.structured_input_signature[1]

    def predict(batch):
        arguments = {"image": tf.constant(batch)}
        if "level" in inputs:
            arguments["level"] = tf.fill([len(batch)], tf.constant(level, tf.float32))
        return function(**arguments)["restored"].numpy()

    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return Artifact(path, predict, dict(Counter(node.op for node in nodes).most_common()))


def tile_latencies(predictors: dict[str, Predictor], tile: np.ndarray, repeats: int = 15) -> dict[str, float]:
    """Time predictors on one tile in turn, so that the machine's moods meet all of them alike.

    Args:
        predictors: name -> predictor.
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


def peak_memory(path: Path, tile_shape: tuple[int, ...], level: float) -> float:
    """Return the peak resident memory of a fresh process that loads an artifact and restores a tile.

    Args:
        path: a `.keras` file or an artifact.
        tile_shape: (1, H, W, C).
        level: see `load`.

    Returns:
        10**6 bytes; the runtime itself is part of it.

    Raises:
        JobError: the process failed.
    """
    command = [
        sys.executable,
        "-m",
        "rnan_tf.export.artifacts",
        str(path.resolve()),
        json.dumps(tile_shape),
        str(level),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise JobError(f"{path}: failed in a process of its own: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return float(done.stdout.split()[-1])


def _restore_one_tile(path: Path, tile_shape: list[int], level: float) -> None:
    predict: Callable
    if path.suffix == ".keras":
        from rnan_tf.restoring.loading import load_model
        from rnan_tf.restoring.tiling import model_predictor

        predict = model_predictor(load_model(path), level / 255)
    else:
        predict = load(path, level).predict
    predict(np.full(tile_shape, 0.5, np.float32))
    # VmHWM is this process's own; getrusage's ru_maxrss of a child starts at the parent's size.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    print(int(status["VmHWM"].split()[0]) * 1024 / 1e6)


if __name__ == "__main__":
    _restore_one_tile(Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3]))
