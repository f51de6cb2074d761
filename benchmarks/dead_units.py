"""How many units of a network are dead? `python benchmarks/dead_units.py --models denoise demosaic`.

A unit is a channel between the two convolutions of a residual block; it is dead if its ReLU is 0 at every pixel of
pieces of scikit-image's photographs, degraded by the network's task. Such a unit gets no gradient.
"""

import sys
from collections import defaultdict
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import numpy as np
import tensorflow as tf

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.network.blocks import ResidualBlock
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.evaluation import evaluate
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean

PHOTOGRAPHS = "astronaut.png", "coffee.png", "page.png", "rocket.jpg"
SIZE = 192  # of the piece of each, as a network that runs eagerly is slow
# Of the noise, and of JPEG.
STRENGTHS = {"sigma": (10, 50), "quality": (10, 40)}


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line, count, print the table."""
    parser = Parser(prog="dead_units.py", description=__doc__.splitlines()[0])
    parser.add_argument("--models", required=True, nargs="+", help="as for restore")
    args = parser.parse_args(argv)
    tf.config.run_functions_eagerly(True)
    print("| network | units | dead | blocks | dead as a whole |\n|---|---|---|---|---|")
    for model in args.models:
        dead = dead_units(model)
        counts = [sum(map(len, dead)), sum(map(sum, dead)), len(dead), sum(map(all, dead))]
        print("|", model, *(f"| {count}" for count in counts), "|", flush=True)


def dead_units(model: str) -> list[np.ndarray]:
    """Say which units of a network are dead.

    Args:
        model: a preset, a .keras file or a run folder.

    Returns:
        (filters,) bool for each residual block.

    Raises:
        InputError: the network is none that Keras runs.
    """
    highest, call = defaultdict(lambda: -np.inf), ResidualBlock.call

    def record(block, x, **kwargs):
        units = tf.reduce_max(tf.cast(block.conv1(x), "float32"), axis=(0, 1, 2)).numpy()
        highest[block.path] = np.maximum(highest[block.path], units)
        return call(block, x, **kwargs)

    with mock.patch.object(ResidualBlock, "call", record):
        restorer = Restorer.from_preset(model)  # a layer takes its `call` from the class when it is made
        task = restorer.task
        images = [(file.stem, read_clean(file, task)[:SIZE, :SIZE]) for file in sample_photographs(*PHOTOGRAPHS)]
        for strength in STRENGTHS.get(task.strength.name if task.strength else "", (0,)):
            list(evaluate(images, task, strength, restorer.predictor(strength), restorer.tiling()))
    if not highest:
        raise InputError(f"{model}: Keras does not run it; give a .keras file, a run folder or a preset")
    return [units <= 0 for units in highest.values()]


if __name__ == "__main__":
    sys.exit(main())
