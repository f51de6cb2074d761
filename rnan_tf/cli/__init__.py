"""The command `rnan-tf`: restore, evaluate, train, export, verify, convert, info, web."""

import importlib
import io
import os
import sys

from rnan_tf import __version__
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.extras import check_extra
from rnan_tf.quiet import import_tensorflow

# What is typed -> (module of this folder with `main`, what it does).
COMMANDS = {
    ("restore",): ("restore", "restore photographs"),
    ("evaluate",): ("evaluate", "PSNR and SSIM by the paper's protocol, for JPEG also PSNR-B"),
    ("train",): ("train", "train on photographs; run again with the same --run-dir, it continues"),
    ("export", "saved-model"): ("export_saved_model", "for TensorFlow Serving"),
    ("export", "tflite"): ("export_tflite", "for phones"),
    ("export", "onnx"): ("export_onnx", "for ONNX Runtime and others"),
    ("verify",): ("verify", "compare exported files with their model"),
    ("convert",): ("convert", "turn a checkpoint of the authors' PyTorch code into a Keras model"),
    ("info",): ("info", "what a model is and how it was trained"),
    ("web",): ("web", "restore photographs in the browser"),
}
# They need TensorFlow whatever their arguments; the others import it, if at all, with a network that does.
_NEED_TENSORFLOW = ("train", "export_saved_model", "export_tflite", "export_onnx", "verify")

_CHOOSE_BACKEND = ("restore", "evaluate", "train")


def build_parser() -> Parser:
    """Return the parser of the first words; each command has its own for what follows."""
    parser = Parser(prog="rnan-tf", description="Restore images with RNAN.")
    parser.add_argument("--version", action="version", version=f"rnan-tf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    kinds = None
    for (name, *kind), (_, text) in COMMANDS.items():
        if not kind:
            commands.add_parser(name, help=text, add_help=False)
            continue
        if kinds is None:
            export = commands.add_parser("export", help="write a SavedModel, TFLite or ONNX files")
            kinds = export.add_subparsers(dest="kind", required=True)
        kinds.add_parser(kind[0], help=text, add_help=False)
    return parser


@command
def run_command(module: str, argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        module: its name in this folder.
        argv: its arguments, None for the process's own.

    Returns:
        The exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be text
    if module in _CHOOSE_BACKEND:
        _choose_backend(sys.argv[1:] if argv is None else argv)
    if module in _NEED_TENSORFLOW:
        import_tensorflow()
    return importlib.import_module(f"rnan_tf.cli.{module}").main(argv)


def _choose_backend(argv):
    """Tell Keras, which asks once, as it is imported: before a command can parse its arguments."""
    from rnan_tf.cli.options import add_backend

    parser = Parser(add_help=False)
    add_backend(parser)
    backend = parser.parse_known_args(argv)[0].backend
    if backend is None:
        return
    if backend == "jax":
        check_extra("jax", "--backend jax")
    if (keras := sys.modules.get("keras")) and keras.backend.backend() != backend:
        raise InputError(f"`backend` {backend}: Keras runs on {keras.backend.backend()} in this process already")
    os.environ["KERAS_BACKEND"] = backend


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `rnan-tf --help`."""
    argv = sys.argv[1:] if argv is None else argv
    for words, (module, _) in COMMANDS.items():
        if tuple(argv[: len(words)]) == words:
            return run_command(module, argv[len(words) :])
    build_parser().parse_args(argv)
    return 0
