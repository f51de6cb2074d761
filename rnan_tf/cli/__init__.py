"""The command `rnan-tf`: restore, evaluate, train, export, verify, convert, info."""

import importlib
import io
import sys

from rnan_tf import __version__
from rnan_tf.cli.options import CFA_NAMES, SUBSAMPLING_NAMES, TASK_NAMES, Parser, add_tiling
from rnan_tf.errors import command
from rnan_tf.quiet import import_tensorflow

# Commands with a parser of their own: what is typed -> (module, what it does).
MODULES = {
    ("train",): ("train", "train on photographs; run again with the same --run-dir, it continues"),
    ("export", "saved-model"): ("export_saved_model", "for TensorFlow Serving"),
    ("export", "tflite"): ("export_tflite", "for phones"),
    ("export", "onnx"): ("export_onnx", "for ONNX Runtime and others"),
    ("verify",): ("verify", "compare exported files with their model"),
}


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="rnan-tf", description="Restore images with RNAN.")
    parser.add_argument("--version", action="version", version=f"rnan-tf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    add = commands.add_parser("restore", help="restore photographs")
    add.add_argument("photos", nargs="+", metavar="PHOTO", help="files, folders or globs")
    add.add_argument("-o", "--output", required=True, metavar="OUT", help="a file for one photograph, else a folder")
    add.add_argument(
        "--model",
        metavar="M",
        help="a .keras, .tflite or .onnx file, the folder of a training run or a bundled network's name; "
        "default: the bundled one for --task",
    )
    add.add_argument("--task", choices=TASK_NAMES, help="default: what the model was trained for")
    add.add_argument(
        "--level",
        help="noise sigma (0-255 scale), or auto: estimate it (auto); for jpeg-color the quality (10); for sr the "
        "scale (2)",
    )
    add.add_argument(
        "--cfa", type=str.upper, choices=CFA_NAMES, default="GRBG", help="a mosaic's colours at (0,0) (0,1) (1,0) (1,1)"
    )
    add_tiling(add)

    add = commands.add_parser("evaluate", help="PSNR and SSIM by the paper's protocol, for JPEG also PSNR-B")
    add.add_argument("--task", required=True, choices=TASK_NAMES)
    add.add_argument("--level", help="noise sigma, JPEG quality or scale")
    add.add_argument("--subsampling", choices=SUBSAMPLING_NAMES, help="of the chroma, for jpeg-color (4:2:0)")
    add.add_argument("--data", required=True, nargs="+", help="clean images: files, folders or globs")
    add.add_argument("--model", metavar="M", help="as for restore; default: measure the degraded input")
    add.add_argument("--seed", type=int, default=0, help="of the noise")
    add.add_argument("--json", metavar="FILE", help="write the result here")
    add.add_argument("--csv", metavar="FILE", help="write a row for each image here")
    add_tiling(add)

    for (name, *_), (_, text) in MODULES.items():
        if name != "export":
            commands.add_parser(name, help=text, add_help=False)
    kinds = commands.add_parser("export", help="write a SavedModel, TFLite or ONNX files").add_subparsers(
        dest="kind", required=True
    )
    for name, *kind in MODULES:
        if kind:
            kinds.add_parser(kind[0], help=MODULES[name, *kind][1], add_help=False)

    add = commands.add_parser("convert", help="turn a checkpoint of the authors' PyTorch code into a Keras model")
    add.add_argument("checkpoint", metavar="CHECKPOINT", help=".pt, .pth or .npz")
    add.add_argument("output", metavar="OUT.keras", help="the file to write")
    add.add_argument("--task", choices=TASK_NAMES, help="record what it was trained for")
    add.add_argument("--level", help="record the level it was trained for")

    add = commands.add_parser("info", help="what a model is and how it was trained")
    add.add_argument(
        "model", nargs="?", metavar="M", help="a .keras file, a run's folder, a bundled network; default: list those"
    )
    return parser


def run_module(name: str, argv: list[str] | None = None) -> int:
    """Run a command that has a module, and a parser, of its own.

    Args:
        name: of the module in this folder.
        argv: its arguments, None for the process's own.

    Returns:
        The exit code.
    """
    import_tensorflow()
    return importlib.import_module(f"rnan_tf.cli.{name}").main(argv)


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `rnan-tf --help`."""
    argv = sys.argv[1:] if argv is None else argv
    for words, (module, _) in MODULES.items():
        if tuple(argv[: len(words)]) == words:
            return run_module(module, argv[len(words) :])
    args = build_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be text
    import_tensorflow()
    from rnan_tf.cli import commands

    return getattr(commands, f"run_{args.command}")(args)
