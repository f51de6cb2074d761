"""Time whole restorations: what a variant, a runtime and a precision take of the machine, beside the machine's limit.

Each row is a process of its own, so that memory and start-up are its own; rows of one run can be compared. The limit is
what 3x3 convolutions of the network's width reach on all cores, times the network's operations: nothing is restored
faster with it. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- restoring.py -->\n", "<!-- end -->\n"
TASK, SIGMA = "denoise", 25
# Name -> (size of the network, runtime, precision).
ROWS = {
    "keras": ("rnan_lite", "Keras", "float32"),
    "bfloat16": ("rnan_lite", "Keras", "bfloat16"),
    "fast": ("rnan_lite", "LiteRT", "int8"),
    "tflite": ("rnan_lite", "LiteRT", "float32"),
    "onnx": ("rnan_lite", "ONNX Runtime", "float32"),
    "saved_model": ("rnan_lite", "SavedModel", "float32"),
    "rnan": ("rnan", "Keras", "float32"),
    "rnan_bfloat16": ("rnan", "Keras", "bfloat16"),
    "reference": ("rnan", "PyTorch, the authors' tiles", "float32"),
}


def restorer_of(row: str, files: Path):
    """Open the network of a row; exported ones are in `files`."""
    from rnan_tf.restoring.restorer import Restorer

    size, _, precision = ROWS[row]
    if size == "rnan":
        import keras

        import rnan_tf
        from rnan_tf.restoring.card import ModelCard
        from rnan_tf.restoring.runtimes.keras import KerasRuntime
        from rnan_tf.tasks.task import get_task

        keras.utils.set_random_seed(0)
        dtype = "mixed_bfloat16" if precision == "bfloat16" else None
        model = rnan_tf.RNAN(**rnan_tf.VARIANTS["rnan"], dtype=dtype)
        return Restorer(KerasRuntime(model, ModelCard.of_task(get_task(TASK), (SIGMA, SIGMA), False)))
    exported = {
        "tflite": files / "tflite" / "model_fp32.tflite",
        "onnx": files / "m.onnx",
        "saved_model": files / "saved",
    }
    options = {"precision": precision} if row == "bfloat16" else {"fast": row == "fast"}
    return Restorer.from_preset(str(exported.get(row, TASK)), **options)


def measure(row: str, files: Path, height: int, width: int, runs: int) -> dict[str, float]:
    """Return what a row takes: start-up and a whole image, seconds, and the process's largest memory, bytes."""
    start = time.perf_counter()
    if row == "reference":
        from reference_torch import paper_size, seconds
        from torch import rand

        network = paper_size()
        started = time.perf_counter() - start
        taken, _ = seconds(network, 255 * rand(1, 3, height, width), "float32", runs)
    else:
        import numpy as np

        restorer = restorer_of(row, files)
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        restorer(pixels[:8, :8])
        started = time.perf_counter() - start
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            restorer(pixels)
            times.append(time.perf_counter() - begin)
        taken = statistics.median(times)
    return {"start": started, "seconds": taken, "memory": peak_memory()}


def peak_memory() -> int:
    """Return the largest memory that this process has had, bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def limit(filters: int) -> float:
    """Return the operations a second that 3x3 convolutions of a width reach on all cores, the best of ten."""
    import tensorflow as tf

    image = tf.random.normal((8, 96, 96, filters))
    kernel = tf.random.normal((3, 3, filters, filters))
    convolve = tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        convolve().numpy()
        times.append(time.perf_counter() - start)
    return 2 * 9 * filters**2 * 8 * 96 * 96 / min(times)


def limits() -> dict[str, float]:
    """Return for each size of the network the seconds that a pixel takes at the machine's limit, attention left out."""
    import rnan_tf
    from rnan_tf.network.cost import multiply_adds

    found = {}
    for size in ("rnan_lite", "rnan"):
        arguments = rnan_tf.VARIANTS[size]
        # Attention's part grows with the tile: of two tiles the part that does not.
        small, large = (multiply_adds(rnan_tf.RNAN(**arguments), tile) for tile in (16, 32))
        constant = small - (large - small) / 3
        found[size] = 2 * constant / limit(arguments["filters"])
    return found


def export(files: Path) -> None:
    """Export the preset for the runtimes that need it."""
    from rnan_tf.cli import main as rnan_tf

    for kind, output in (("tflite", "tflite"), ("onnx", "m.onnx"), ("saved-model", "saved")):
        options = ["--variants", "fp32"] if kind == "tflite" else []
        if rnan_tf(["export", kind, "--model", TASK, "--output", str(files / output), *options]):
            sys.exit(1)


def table(found: dict[str, dict[str, float]], limits: dict[str, float], pixels: int) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| network | runtime | precision | s/Mpixel | times the limit | start-up, s | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, result in found.items():
        size, runtime, precision = ROWS[row]
        each = result["seconds"] / pixels
        lines.append(
            f"| `{size}` | {runtime} | {precision} | {1e6 * each:.1f} | {each / limits[size]:.2f} | "
            f"{result['start']:.1f} | {result['memory'] / 1e6:.0f} |"
        )
    return lines


def main() -> None:
    """Measure each row in its own process, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 768), metavar=("H", "W"), help="(512 768)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which; default: all")
    parser.add_argument("--runs", type=int, default=3, help="medians over so many (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "FILES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], Path(args.one[1]), *args.size, args.runs)))
        return
    from rnan_tf.quiet import import_tensorflow

    import_tensorflow()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        if {"tflite", "onnx", "saved_model"} & set(args.rows):
            export(Path(folder))
        bounds = limits()
        for row in args.rows:
            command = [sys.executable, __file__, "--size", *map(str, args.size), "--runs", str(args.runs)]
            printed = subprocess.run([*command, "--one", row, folder], check=True, stdout=subprocess.PIPE, text=True)
            found[row] = json.loads(printed.stdout.splitlines()[-1])
            print(row, found[row], flush=True)
    height, width = args.size
    lines = [
        f"`python benchmarks/restoring.py --size {height} {width} --runs {args.runs} --write`, {os.cpu_count()} cores; "
        f"limits: {1e6 * bounds['rnan_lite']:.1f} s/Mpixel for `rnan_lite`, {1e6 * bounds['rnan']:.1f} for `rnan`.",
        "",
        *table(found, bounds, height * width),
    ]
    print("\n".join(lines))
    if args.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
