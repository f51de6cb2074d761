"""Export a model for phones: `rnan-tf export tflite --model M --output DIR`.

Writes DIR/TASK-VARIANT.tflite and DIR/tflite.md, what they cost. Before a file has its name it has been checked by
`rnan_tf.export.tflite.lint` and compared with the Keras model on real degraded patches.
"""

from pathlib import Path

from rnan_tf.cli.options import TASK_NAMES, Parser, asked_tiling
from rnan_tf.errors import command
from rnan_tf.export.tflite import exporting, quantization
from rnan_tf.export.tflite.quantization import cut_patches, quantize
from rnan_tf.files import make_folder, replacing, write_atomically
from rnan_tf.photos.photo import list_images
from rnan_tf.restoring.loading import load_model, trained_task
from rnan_tf.restoring.runtimes import check_extra, make_metadata


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, and print what the variants cost."""
    args = _build_parser().parse_args(argv)
    check_extra("tflite")
    folder = Path(args.output)
    exporting.check_folder(folder)
    files = list_images([args.calibration]) if args.calibration else exporting.default_photographs()
    model = load_model(args.model)
    tiling = asked_tiling(tile=exporting.default_tile(model) if args.tile is None else args.tile, overlap=args.overlap)
    task, levels = trained_task(model, args.model, args.task)
    patches = cut_patches(files, task, levels, tiling.tile, exporting.PATCHES)
    metadata = make_metadata(model, task, levels, tiling)
    make_folder(folder)
    network = exporting.convert(model, tiling.tile)
    recipes = {"fp32": None, "fp16": quantization.FLOAT16, "dynamic": quantization.DYNAMIC}
    frontier = {}
    if "int8" in args.variants:
        frontier = {r.name: quantize(network, r, patches, model.conditional) for r in quantization.FRONTIER}
        recipes["int8"] = quantization.choose_int8(network, frontier, patches, exporting.tolerance("int8", task.name))
    variants = {}
    for variant in dict.fromkeys(args.variants):
        recipe = recipes[variant]
        content = exporting.add_metadata(network, {**metadata, "variant": variant})
        content = content if recipe is None else quantize(content, recipe, patches, model.conditional)
        target = folder / f"{task.name}-{variant}.tflite"
        with replacing(target) as temporary:
            temporary.write_bytes(content)
            exporting.verify(temporary, target, model, patches, exporting.tolerance(variant, task.name))
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
    parser.add_argument("--task", choices=TASK_NAMES, help="default: what the model was trained for")
    parser.add_argument(
        "--variants", nargs="+", choices=exporting.VARIANTS, default=list(exporting.VARIANTS), help="default: all"
    )
    parser.add_argument("--calibration", metavar="DIR", help="clean photographs (scikit-image's)")
    parser.add_argument("--tile", type=int, metavar="N", help="height and width (96; at full resolution 64)")
    parser.add_argument(
        "--overlap", type=int, default=16, metavar="N", help="pixels that tiles should share (%(default)s)"
    )
    return parser
