"""Export a model to ONNX: `rnan-tf export onnx --model M --output FILE.onnx`.

Batch, height and width are dynamic; with --tile N only the batch is, and the file has no loop. Before the file has its
name it has been checked by `onnx.checker` and compared, in ONNX Runtime and at three shapes, with the Keras model.
"""

from dataclasses import replace
from pathlib import Path

from rnan_tf.cli.options import add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.export import onnx
from rnan_tf.extras import check_extra
from rnan_tf.files import make_folder, replacing
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling, asked_tiling
from rnan_tf.tasks.task import get_task


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, verify, and print what was written."""
    args = _build_parser().parse_args(argv)
    target = Path(args.output)
    if target.suffix != ".onnx" or target.is_dir():
        raise InputError(f"{target}: --output must be a file whose name ends in .onnx")
    check_extra("onnx")
    if args.overlap is not None and args.tile is None:
        raise InputError("--overlap belongs to --tile; give both, or neither for images of any size")
    asked_tiling(args.tile, args.overlap)  # wrong use, before a model is loaded
    runtime = KerasRuntime.open(args.model, args.task)
    card = runtime.card
    if args.tile is not None:
        card = replace(card, tile=args.tile, overlap=asked_tiling(args.tile, args.overlap).overlap)
    strength = get_task(runtime.card.task).nearest(runtime.card.strengths)
    make_folder(target.parent)
    proto = onnx.convert(runtime.model, card)
    with replacing(target) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        difference = onnx.verify(temporary, target, runtime, strength)
    print(f"wrote {target}: opset {onnx.OPSET}, {target.stat().st_size / 1e6:.2f} MB")
    print(f"largest difference from the Keras model: {difference:.1e}")
    return 0


def _build_parser():
    parser = Parser(prog="rnan-tf export onnx", description="Export a model to ONNX.")
    parser.add_argument("--model", required=True, metavar="M", help="a .keras file or the folder of a training run")
    parser.add_argument("--output", required=True, metavar="FILE", help="name ending in .onnx")
    add_task(parser, "what the model was trained for, if it does not say")
    parser.add_argument("--tile", type=int, metavar="N", help="the only height and width; default: any")
    parser.add_argument(
        "--overlap", type=int, metavar="N", help=f"pixels that tiles should share, with --tile ({Tiling.overlap})"
    )
    return parser
