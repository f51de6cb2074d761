"""What the commands share. Nothing here imports TensorFlow, so that --help is quick."""

import argparse
from typing import TYPE_CHECKING

from rnan_tf.errors import InputError

if TYPE_CHECKING:
    from rnan_tf.restoring.tiling import Tiling

TASK_NAMES = ("denoise", "denoise-gray", "demosaic", "jpeg", "jpeg-color", "sr")
CFA_NAMES = ("GRBG", "RGGB", "BGGR", "GBRG")
SUBSAMPLING_NAMES = ("4:2:0", "4:4:4", "4:2:2")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, as all others are."""

    def error(self, message):
        raise InputError(f"{message}; see `{self.prog} --help`")


def add_tiling(parser: Parser) -> None:
    """Add the options of tiles and of the self-ensemble."""
    parser.add_argument("--self-ensemble", action="store_true", help="average over 8 turns and flips, 8 times slower")
    parser.add_argument(
        "--tile", type=int, metavar="N", help="a square's side, restored at a time (128; .tflite: the model's own)"
    )
    parser.add_argument(
        "--overlap", type=int, metavar="N", help="pixels that neighbouring tiles share (16; .tflite: the model's own)"
    )


def asked_tiling(**sizes: int | None) -> "Tiling":
    """Return the tiling of `--tile` and `--overlap`; None takes the default.

    Raises:
        InputError: a size is out of its range.
    """
    from rnan_tf.restoring.tiling import Tiling  # here, as numpy is slow to import

    try:
        return Tiling(**{name: size for name, size in sizes.items() if size is not None})
    except InputError as error:  # whose message begins with the argument's name
        raise InputError(f"--{error}") from error
