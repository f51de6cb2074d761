"""Compare all exports of the bundled networks with Keras: `taskset -c 0 python benchmarks/exports.py --data TEST_SETS`.

TEST_SETS is a folder with CBSD68/, BSD68/, Classic5/ and Set5/. The float32 and float16 files, the SavedModels and the
ONNX files are made here as the export commands make them; int8 is the bundled file. With `--gpu` one tile is restored
by LiteRT's GPU delegate on SwiftShader instead, 5 to 25 seconds a file. Both write their rows into docs/exports.md,
where those of other presets stay. Times are the processor's, so that other jobs on the machine do not count.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import numpy as np
import skimage.data

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.export import onnx
from rnan_tf.export.saved_model import exporting as saved_model
from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.export.tflite import exporting as tflite
from rnan_tf.export.tflite.quantization import FLOAT16
from rnan_tf.files import write_atomically
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.runtimes import Runtime, open_runtime
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import fast_path, list_presets
from tests.helpers import gpu_tile

PAGE = ROOT / "docs" / "exports.md"
# Preset -> (test set, strength).
PROTOCOL = {
    "denoise": ("CBSD68", 30),
    "denoise-gray": ("BSD68", 30),
    "demosaic": ("CBSD68", 0),
    "jpeg": ("Classic5", 10),
    "jpeg-color": ("CBSD68", 10),
    "sr-x2": ("Set5", 0),
    "sr-x3": ("Set5", 0),
    "sr-x4": ("Set5", 0),
}
TFLITE, OTHERS = ("TFLite float32", "TFLite float16", "TFLite int8"), ("SavedModel", "ONNX")
TIMED = 9  # tiles


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure preset by preset, write and print the table."""
    parser = Parser(prog="exports.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder that holds the test sets")
    parser.add_argument("--presets", nargs="+", choices=list_presets(), default=list_presets(), help="default: all")
    parser.add_argument("--images", type=int, metavar="N", help="only the first N of each test set")
    parser.add_argument("--gpu", action="store_true", help="the GPU delegate's table")
    args = parser.parse_args(argv)
    if args.gpu and gpu_tile.is_missing():
        raise InputError(gpu_tile.is_missing())
    for preset in args.presets:
        rows = measure_gpu(preset) if args.gpu else measure(preset, args.data, args.images)
        write_rows("gpu" if args.gpu else "test sets", preset, rows)
        print(*rows, sep="\n", flush=True)
    return 0


# === The exports ===


def make_tflite(runtime: KerasRuntime) -> dict[str, bytes]:
    """Return a preset's `.tflite` files: variant -> content."""
    tile = runtime.tiling.tile
    card = replace(runtime.card, tile=tile, overlap=runtime.tiling.overlap)
    converted = tflite.convert(runtime.model, tile)
    variants = {
        variant: tflite.make_variant(converted, card, key, recipe, ())
        for variant, key, recipe in zip(TFLITE, ("fp32", "fp16"), (None, FLOAT16), strict=False)
    }
    return {**variants, TFLITE[2]: fast_path(runtime.card.task).read_bytes()}


def open_exports(runtime: KerasRuntime, folder: Path) -> dict[str, Runtime]:
    """Export a preset into a folder; return variant -> its runtime."""
    graph = ServingGraph(runtime.model, runtime.card, Tiling(runtime.tiling.tile), saved_model.MAX_PIXELS)
    graph.save(folder / "1")
    saved_model.write_card(folder / "1", runtime.card)
    (folder / "model.onnx").write_bytes(onnx.convert(runtime.model, runtime.card).SerializeToString())
    files = {name: LiteRtRuntime.from_content(name, content) for name, content in make_tflite(runtime).items()}
    return {**files, **dict(zip(OTHERS, map(open_runtime, (folder / "1", folder / "model.onnx")), strict=True))}


# === On test sets ===


@dataclass
class Measured:
    """What is measured of a runtime.

    Attributes:
        psnr: of each image, dB.
        difference: the largest from Keras' 8-bit pixels, levels.
        milliseconds: of the processor, all cores together, for a tile: the median.
    """

    psnr: list[float]
    difference: int
    milliseconds: float


def measure(preset: str, data: Path, images: int | None) -> list[str]:
    """Return a preset's rows.

    Args:
        preset: its name.
        data: the folder that holds the test sets.
        images: only so many of its test set.

    Raises:
        InputError: the test set is missing.
    """
    test_set, strength = PROTOCOL[preset]
    if not (data / test_set).is_dir():
        raise InputError(f"{data / test_set}: no such test set")
    files = list_images([data / test_set])
    keras = KerasRuntime.open(preset)
    with tempfile.TemporaryDirectory() as folder:
        measured = compare({"Keras": keras, **open_exports(keras, Path(folder))}, files[:images], strength)
    base = measured["Keras"]
    at = f"{test_set}{f' at {strength}' if strength else ''}, {len(base.psnr)} of {len(files)}"
    rows = []
    for name, row in measured.items():
        lost = f"{np.mean(base.psnr) - np.mean(row.psnr):+.4f}" if row is not base else ""
        difference = f"{row.difference}" if row is not base else ""
        cells = f"{np.mean(row.psnr):.3f} | {lost} | {difference} | {row.milliseconds:.0f}"
        rows.append(f"| {preset} | {name} | {at} | {cells} | {row.milliseconds / base.milliseconds:.2f} |")
    return rows


def compare(runtimes: Mapping[str, Runtime], files: Sequence[Path], strength: float) -> dict[str, Measured]:
    """Restore images with all runtimes; the first is what the others are compared with.

    Args:
        runtimes: name -> runtime.
        files: clean images.
        strength: to degrade at, in the user's unit.
    """
    first, task = next(iter(runtimes)), get_task(runtimes["Keras"].card.task)
    tiling = runtimes[TFLITE[0]].tiling
    results = {name: Measured([], 0, 0.0) for name in runtimes}
    for index, file in enumerate(files):
        clean = read_clean(file, task)
        degraded = task.degrade(clean, (0, index), strength)
        restored = {}
        for name, runtime in runtimes.items():
            restored[name] = restore(runtime.at(strength), degraded, task.scale, tiling)
            difference = int(np.abs(restored[name].astype(int) - restored[first]).max())
            results[name].difference = max(results[name].difference, difference)
            results[name].psnr.append(score(restored[name], clean, task.scoring)["psnr"])
    tile = to_float(degraded[: tiling.tile, : tiling.tile])[None]
    times = {name: [] for name in runtimes}
    for _ in range(TIMED + 1):
        for name, runtime in runtimes.items():
            start = time.process_time()
            runtime.run(tile, strength)
            times[name].append((time.process_time() - start) * 1e3)
    for name, values in times.items():
        results[name].milliseconds = statistics.median(values[1:])
    return results


# === On the GPU delegate ===


def measure_gpu(preset: str) -> list[str]:
    """Return the rows of a preset's `.tflite` files: what the GPU delegate takes, and how it differs from the CPU."""
    rows, (_, strength) = [], PROTOCOL[preset]
    for name, content in make_tflite(KerasRuntime.open(preset)).items():
        cpu = LiteRtRuntime.from_content(name, content)
        task, side = get_task(preset), cpu.card.tile * cpu.card.scale
        clean = task.clean(skimage.data.astronaut()[50 : 50 + side, 120 : 120 + side])
        tile = to_float(task.degrade(clean, (0, 0), strength))[None]
        accelerated, output = gpu_tile.restore(content, cpu.inputs(tile, strength))
        expected = cpu.run(tile, strength)
        difference = np.abs(output.reshape(expected.shape) - expected).max()
        rows.append(f"| {preset} | {name} | {'yes' if accelerated else 'no'} | {difference:.0e} |")
    return rows


# === The page ===


def write_rows(table: str, preset: str, rows: list[str]) -> None:
    """Put a preset's rows into a table of the page instead of those that it had.

    Args:
        table: its name in the page's comment before it.
        preset: the rows' first cell.
        rows: Markdown.
    """
    page, mark = PAGE.read_text(), f"<!-- exports.py, {table} -->\n"
    start = page.index(mark) + len(mark)
    end = page.index("<!-- end -->", start)
    head, line, *body = page[start:end].splitlines()
    body = [row for row in body if not row.startswith(f"| {preset} |")] + rows
    body.sort(key=lambda row: list_presets().index(row.split("|")[1].strip()))  # rows of a preset keep their order
    write_atomically(PAGE, (page[:start] + "\n".join([head, line, *body]) + "\n" + page[end:]).encode())


if __name__ == "__main__":
    sys.exit(main())
