"""Export a model for phones: `rnan-tf export tflite --model M --output DIR`.

Writes DIR/TASK-VARIANT.tflite and DIR/tflite.md, what they cost. Before a file has its name it has been checked by
`rnan_tf.export.tflite.lint` and compared with the Keras model on real degraded patches.
"""

from dataclasses import replace
from pathlib import Path

from rnan_tf.cli.options import add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import JobError, command
from rnan_tf.export.artifacts import check_folder
from rnan_tf.export.patches import cut_patches
from rnan_tf.export.tflite import exporting, magnitudes, report
from rnan_tf.extras import check_extra
from rnan_tf.files import make_folder, replacing, write_atomically
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling, asked_tiling
from rnan_tf.tasks.task import get_task


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, and print what the variants cost."""
    args = _build_parser().parse_args(argv)
    check_extra("tflite")
    folder = Path(args.output)
    check_folder(folder)
    files = list_images([args.calibration]) if args.calibration else sample_photographs()
    runtime = KerasRuntime.open(args.model, args.task)
    variants = exporting.check_variants(runtime.model, args.variants)
    tiling = asked_tiling(args.tile, args.overlap, runtime.tiling)
    card = replace(runtime.card, tile=tiling.tile, overlap=tiling.overlap)
    task = get_task(card.task)
    patches = cut_patches(files, task, card.strengths, tiling.tile, exporting.PATCHES)
    make_folder(folder)
    converted = exporting.convert(runtime.model, tiling.tile)
    network = exporting.add_card(converted, card)
    overflow = None
    if "fp16" in variants:
        overflow = _find_overflow(network, cut_patches(files, task, card.strengths, tiling.tile, magnitudes.TILES))
        variants = [variant for variant in variants if not (overflow and variant == "fp16")]
    recipes, tried = exporting.choose_recipes(variants, network, patches)
    written = {}
    for variant, recipe in recipes.items():
        written[variant] = folder / f"{task.name}-{variant}.tflite"
        with replacing(written[variant]) as temporary:
            temporary.write_bytes(exporting.make_variant(converted, card, variant, recipe, patches))
            exporting.verify(temporary, written[variant], runtime, patches)
        print(f"wrote {written[variant]}", flush=True)
    if written:
        text = report.report_variants(network, written, patches)
        if tried:
            text += "\n" + report.report_frontier(network, tried, recipes["int8"].name, patches)
        write_atomically(folder / "tflite.md", text.encode())
        print(text)
    if overflow:
        raise JobError(f"{folder / task.name}-fp16.tflite: {overflow}; not written")
    return 0


def _find_overflow(network, tiles):
    """Print how large the network's numbers become; return in words why float16 will not do, or None."""
    largest = magnitudes.largest_magnitude(network, tiles)
    print(f"largest magnitude within the network, over {len(tiles)} tiles: {largest}", flush=True)
    return None if largest.fits else f"values reach {largest}, {magnitudes.LIMIT:,} at most are safe in float16"


def _build_parser():
    parser = Parser(prog="rnan-tf export tflite", description="Export a model for phones.")
    parser.add_argument("--model", required=True, metavar="M", help="a .keras file or the folder of a training run")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the files")
    add_task(parser, "what the model was trained for, if it does not say")
    parser.add_argument(
        "--variants", nargs="+", choices=exporting.VARIANTS, help="default: all that the network can be"
    )
    parser.add_argument("--calibration", metavar="DIR", help="clean photographs (scikit-image's)")
    parser.add_argument(
        "--tile", type=int, metavar="N", help=f"height and width ({Tiling.tile}; at full resolution 64)"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help=f"pixels that tiles should share ({Tiling.overlap}; at full resolution 8)",
    )
    return parser
