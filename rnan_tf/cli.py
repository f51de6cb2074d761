"""The command `rnan-tf`: restore, evaluate, convert, info."""

import argparse
import io
import sys

from rnan_tf import __version__
from rnan_tf.errors import InputError, command
from rnan_tf.quiet import import_tensorflow

TASK_NAMES = ("denoise", "denoise-gray", "demosaic", "jpeg", "jpeg-color", "sr")
CFA_NAMES = ("GRBG", "RGGB", "BGGR", "GBRG")
SUBSAMPLING_NAMES = ("4:2:0", "4:4:4", "4:2:2")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, as all others are."""

    def error(self, message):
        raise InputError(f"{message}; see `{self.prog} --help`")


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
    _add_tiling(add)

    add = commands.add_parser("evaluate", help="PSNR and SSIM by the paper's protocol, for JPEG also PSNR-B")
    add.add_argument("--task", required=True, choices=TASK_NAMES)
    add.add_argument("--level", help="noise sigma, JPEG quality or scale")
    add.add_argument("--subsampling", choices=SUBSAMPLING_NAMES, help="of the chroma, for jpeg-color (4:2:0)")
    add.add_argument("--data", required=True, nargs="+", help="clean images: files, folders or globs")
    add.add_argument("--model", metavar="M", help="as for restore; default: measure the degraded input")
    add.add_argument("--seed", type=int, default=0, help="of the noise")
    add.add_argument("--json", metavar="FILE", help="write the result here")
    add.add_argument("--csv", metavar="FILE", help="write a row for each image here")
    _add_tiling(add)

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


def _add_tiling(parser):
    parser.add_argument("--self-ensemble", action="store_true", help="average over 8 turns and flips, 8 times slower")
    parser.add_argument(
        "--tile", type=int, metavar="N", help="a square's side, restored at a time (128; .tflite: the model's own)"
    )
    parser.add_argument(
        "--overlap", type=int, metavar="N", help="pixels that neighbouring tiles share (16; .tflite: the model's own)"
    )


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `rnan-tf --help`."""
    args = build_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be text
    import_tensorflow()
    from rnan_tf import commands

    return getattr(commands, f"run_{args.command}")(args)


if __name__ == "__main__":
    sys.exit(main())
