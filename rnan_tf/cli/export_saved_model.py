"""Export a model for TensorFlow Serving: `rnan-tf export saved-model --model M --output models/NAME`.

Writes models/NAME/<next version>/. What stands under that name has been loaded and compared with the Keras model.
"""

from pathlib import Path

import tensorflow as tf

from rnan_tf.cli.options import add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command, first_line
from rnan_tf.export.saved_model import exporting
from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.extras import check_extra
from rnan_tf.files import make_folder, replacing
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, verify, and print what was written."""
    args = _build_parser().parse_args(argv)
    if args.max_pixels < 1:
        raise InputError(f"--max-pixels must be at least 1; got {args.max_pixels}")
    tiling = Tiling(args.tile, args.overlap)
    check_extra("serving", "the warm-up requests")
    folder = Path(args.output)
    target = folder / str(exporting.next_version(folder))
    photo = read_photo(args.image or sample_photographs("chelsea.png")[0])
    runtime = KerasRuntime.open(args.model, args.task)
    graph = ServingGraph(runtime.model, runtime.card, tiling, args.max_pixels)
    strength = graph.task.nearest(runtime.card.strengths)
    examples = exporting.make_examples(graph, photo.pixels, strength)
    make_folder(folder)
    with replacing(target) as temporary:
        try:
            graph.save(temporary)
            exporting.write_warmup(temporary, folder.resolve().name, examples)
            exporting.write_card(temporary, runtime.card)
            levels_off, float_off = exporting.compare(temporary, graph, examples, strength)
        except tf.errors.OpError as error:
            raise JobError(f"{target}: the export failed ({first_line(error)})") from error
    print(f"wrote {target}: {', '.join(examples)}, up to {args.max_pixels:,} restored pixels")
    print(f"largest difference from the Keras model: {levels_off} levels (uint8), {float_off:.1e} (float32)")
    return 0


def _build_parser():
    parser = Parser(prog="rnan-tf export saved-model", description="Export a model for TensorFlow Serving.")
    parser.add_argument("--model", required=True, metavar="M", help="a .keras file or the folder of a training run")
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder of the served model; a new version is added to it"
    )
    add_task(parser, "what the model was trained for, if it does not say")
    parser.add_argument("--image", metavar="FILE", help="photograph to compare on (scikit-image's cat)")
    parser.add_argument(
        "--tile", type=int, default=Tiling.tile, metavar="N", help="a square's side, restored at a time (%(default)s)"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=Tiling.overlap,
        metavar="N",
        help="pixels that neighbouring tiles share (%(default)s)",
    )
    parser.add_argument(
        "--max-pixels", type=int, default=exporting.MAX_PIXELS, metavar="N", help="largest restored image (%(default)s)"
    )
    return parser
