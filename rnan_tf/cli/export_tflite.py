"""Export a model for phones: `rnan-tf export tflite --model M --output DIR`.

Writes DIR/TASK-VARIANT.tflite and DIR/tflite.md, what they cost. Before a file has its name it has been checked by
`rnan_tf.export.tflite.lint` and compared with the Keras model on real degraded patches.
"""

from dataclasses import replace
from pathlib import Path

from rnan_tf.cli.options import Parser, add_task
from rnan_tf.errors import command
from rnan_tf.export.tflite import exporting, quantization
from rnan_tf.export.tflite.quantization import cut_patches, quantize
from rnan_tf.extras import check_extra
from rnan_tf.files import make_folder, replacing, write_atomically
from rnan_tf.photos.photo import list_images
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import get_task


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, and print what the variants cost."""
    args = _build_parser().parse_args(argv)
    check_extra("tflite")
    folder = Path(args.output)
    exporting.check_folder(folder)
    files = list_images([args.calibration]) if args.calibration else exporting.default_photographs()
    runtime = KerasRuntime.open(args.model, args.task)
    tile = exporting.default_tile(runtime.model) if args.tile is None else args.tile
    tiling = Tiling(tile, args.overlap)
    card = replace(runtime.card, tile=tiling.tile, overlap=tiling.overlap)
    task = get_task(card.task)
    patches = cut_patches(files, task, card.strengths, tiling.tile, exporting.PATCHES)
    make_folder(folder)
    converted = exporting.convert(runtime.model, tiling.tile)
    network = exporting.add_card(converted, card)
    recipes = {"fp32": None, "fp16": quantization.FLOAT16, "dynamic": quantization.DYNAMIC}
    frontier = {}
    if "int8" in args.variants:
        frontier = {r.name: quantize(network, r, patches) for r in quantization.FRONTIER}
        recipes["int8"] = quantization.choose_int8(network, frontier, patches, exporting.tolerance("int8", task))
    variants = {}
    for variant in dict.fromkeys(args.variants):
        recipe = recipes[variant]
        content = exporting.add_card(converted, card.with_details(variant=variant))
        content = content if recipe is None else quantize(content, recipe, patches)
        target = folder / f"{task.name}-{variant}.tflite"
        with replacing(target) as temporary:
            temporary.write_bytes(content)
            exporting.verify(temporary, target, runtime, patches, exporting.tolerance(variant, task))
        variants[variant] = target
        print(f"wrote {target}", flush=True)
    report = exporting.report_variants(network, variants, patches)
    if frontier:
        report += "\n" + exporting.report_frontier({"float32": network, **frontier}, recipes["int8"].name, patches)
    write_atomically(folder / "tflite.md", report.encode())
    print(report)
    return 0


def _build_parser():
    parser = Parser(prog="rnan-tf export tflite", description="Export a model for phones.")
    parser.add_argument("--model", required=True, metavar="M", help="a .keras file or the folder of a training run")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the files")
    add_task(parser, "what the model was trained for, if it does not say")
    parser.add_argument(
        "--variants", nargs="+", choices=exporting.VARIANTS, default=list(exporting.VARIANTS), help="default: all"
    )
    parser.add_argument("--calibration", metavar="DIR", help="clean photographs (scikit-image's)")
    parser.add_argument("--tile", type=int, metavar="N", help="height and width (96; at full resolution 64)")
    parser.add_argument(
        "--overlap", type=int, default=16, metavar="N", help="pixels that tiles should share (%(default)s)"
    )
    return parser
