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
    "command": ("rnan_lite", "`rnan-tf restore`, the whole command", "float32"),
    "fast_command": ("rnan_lite", "`rnan-tf restore --fast`, the whole command", "int8"),
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
        from rnan_tf.restoring.runtimes.runtime import count_cores
        from rnan_tf.tasks.task import get_task

        keras.utils.set_random_seed(0)
        dtype = "mixed_bfloat16" if precision == "bfloat16" else None
        model = rnan_tf.RNAN(**rnan_tf.VARIANTS["rnan"], dtype=dtype)
        card = ModelCard.of_task(get_task(TASK), (SIGMA, SIGMA), False)
        return Restorer(KerasRuntime(model, card, copies=count_cores() - 1))
    exported = {
        "tflite": files / "tflite" / f"{TASK}-fp32.tflite",
        "onnx": files / "m.onnx",
        "saved_model": files / "saved",
    }
    options = {"precision": precision} if row == "bfloat16" else {"fast": row == "fast"}
    return Restorer.from_preset(str(exported.get(row, TASK)), **options)


def measure(row: str, files: Path, height: int, width: int, runs: int) -> dict[str, float]:
    """Return what a row takes: start-up and a whole image, seconds, and the process's largest memory, bytes."""
    if row.endswith("command"):
        return measure_command(row, files, height, width, runs)
    start = time.perf_counter()
    if row == "reference":
        from reference_torch import paper_size, seconds
        from torch import rand

        network = paper_size()
        started = time.perf_counter() - start
        taken, _ = seconds(network, 255 * rand(1, 3, height, width), "float32", runs)
    else:
        import numpy as np

        from rnan_tf.cli.options import one_thread_an_operator

        one_thread_an_operator(str(files / "saved") if row == "saved_model" else None)
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


def measure_command(row: str, files: Path, height: int, width: int, runs: int) -> dict[str, float]:
    """Return what `measure` does of a command that reads and writes a PNG; nothing of it counts as start-up."""
    import numpy as np
    import skimage.data
    from PIL import Image

    photo = skimage.data.astronaut()
    pixels = np.tile(photo, (-(-height // len(photo)), -(-width // photo.shape[1]), 1))[:height, :width]
    Image.fromarray(pixels).save(files / "photo.png")
    command = ["restore", str(files / "photo.png"), "-o", str(files / "restored.png"), "--task", TASK]
    command += ["--sigma", str(SIGMA), *(["--fast"] if row == "fast_command" else [])]
    times, memory = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        process = subprocess.Popen([Path(sys.executable).with_name("rnan-tf"), *command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(1)
        times.append(time.perf_counter() - begin)
        memory.append(usage.ru_maxrss * 1024)
    return {"start": 0, "seconds": statistics.median(times), "memory": max(memory)}


def peak_memory() -> int:
    """Return the largest memory that this process has had, bytes; getrusage's would start from its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def limit(filters: int) -> float:
    """Return the operations a second that 3x3 convolutions of a width reach on all cores, the best of fifty."""
    import tensorflow as tf

    image = tf.random.normal((8, 96, 96, filters))
    kernel = tf.random.normal((3, 3, filters, filters))
    convolve = tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))
    times = []
    for _ in range(50):
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
