"""Export a model to ONNX: `rnan-tf export onnx --model M --output FILE.onnx`.

Batch, height and width are dynamic. Before the file has its name it has been checked by `onnx.checker` and compared, in
ONNX Runtime and at three shapes, with the Keras model.
"""

from pathlib import Path

from rnan_tf.cli.options import TASK_NAMES, Parser
from rnan_tf.errors import InputError, command
from rnan_tf.export import onnx
from rnan_tf.files import make_folder, replacing
from rnan_tf.restoring.loading import load_model, trained_task
from rnan_tf.restoring.runtimes import check_extra, make_metadata


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, export, verify, and print what was written."""
    args = _build_parser().parse_args(argv)
    target = Path(args.output)
    if target.suffix != ".onnx" or target.is_dir():
        raise InputError(f"{target}: --output must be a file whose name ends in .onnx")
    check_extra("onnx")
    model = load_model(args.model)
    task, levels = trained_task(model, args.model, args.task)
    make_folder(target.parent)
    proto = onnx.convert(model, make_metadata(model, task, levels))
    with replacing(target) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        difference = onnx.verify(temporary, target, model, task, levels[0])
    print(f"wrote {target}: opset {onnx.OPSET}, {target.stat().st_size / 1e6:.2f} MB")
    print(f"largest difference from the Keras model: {difference:.1e}")
    return 0


def _build_parser():
    parser = Parser(prog="rnan-tf export onnx", description="Export a model to ONNX.")
    parser.add_argument("--model", required=True, metavar="M", help="a .keras file or the folder of a training run")
    parser.add_argument("--output", required=True, metavar="FILE", help="name ending in .onnx")
    parser.add_argument("--task", choices=TASK_NAMES, help="default: what the model was trained for")
    return parser
