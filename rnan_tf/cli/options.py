"""What the commands' parsers share. Nothing here imports TensorFlow, so that --help is quick."""

import argparse
import os

from rnan_tf.errors import InputError
from rnan_tf.restoring.runtimes import PRECISIONS
from rnan_tf.tasks.strength import STRENGTHS
from rnan_tf.tasks.task import TASKS, Task

# Words of version 0.1 -> what says the same now.
OLD_TASK = "task sr is sr-x2, sr-x3 or sr-x4 now"
OLD_LEVEL = "--level is now --sigma for noise and --quality for JPEG; the scale is part of the task's name, as in sr-x2"

BACKENDS = ("tensorflow", "jax")

PRIVATE_NETWORK = (
    "you trust everyone who can reach this machine: TensorFlow listens on all its interfaces, and whoever reaches the "
    "ports runs graphs with your rights"
)


class _Renamed(argparse.Action):
    """An option of version 0.1, which says what replaces it."""

    def __call__(self, parser, namespace, values, option_string=None):
        raise InputError(OLD_LEVEL)


def task_name(text: str) -> str:
    """Return a task's name, for argparse's `type`.

    Raises:
        ArgumentTypeError: there is no such task.
    """
    if text == "sr":
        raise argparse.ArgumentTypeError(OLD_TASK)
    if text not in TASKS:
        raise argparse.ArgumentTypeError(f"unknown task {text!r} (choose from {', '.join(TASKS)})")
    return text


def add_task(parser: argparse.ArgumentParser, text: str, **settings) -> None:
    """Add `--task`.

    Args:
        parser: receives it.
        text: what --help says of it.
        **settings: of `add_argument`.
    """
    parser.add_argument("--task", type=task_name, metavar="TASK", help=f"{text}: {', '.join(TASKS)}", **settings)


def add_strengths(parser: argparse.ArgumentParser, sigma: str, quality: str) -> None:
    """Add `--sigma` and `--quality`, which stay text until a task reads them.

    Args:
        parser: receives them.
        sigma: what --help says of the first.
        quality: and of the second.
    """
    parser.add_argument("--sigma", metavar="S", help=sigma)
    parser.add_argument("--quality", metavar="Q", help=quality)
    add_old_level(parser)


def asked_strength(args, task: Task) -> float | None:
    """Return the strength that `add_strengths`' options ask for; None if there is none.

    Args:
        args: the parsed arguments.
        task: which must have such a strength.

    Raises:
        InputError: it does not, or the text is not a single strength.
    """
    given = {name: text for name in STRENGTHS if (text := getattr(args, name)) is not None}
    for name in given:
        task.check_has(name)
    return next((STRENGTHS[name].parse(text, ranges=False)[0] for name, text in given.items()), None)


def raw_options(args) -> list[str]:
    """Return the names of the options given that raw photographs alone have, as they are typed."""
    given = {"white-balance": args.white_balance is not None, "linear": args.linear}
    return [name for name, is_given in given.items() if is_given]


def add_old_level(parser: argparse.ArgumentParser) -> None:
    """Add version 0.1's `--level`, which says what replaces it."""
    parser.add_argument("--level", action=_Renamed, nargs="*", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_tiling(parser: argparse.ArgumentParser) -> None:
    """Add the options of tiles and of the self-ensemble."""
    parser.add_argument("--self-ensemble", action="store_true", help="average over 8 turns and flips, 8 times slower")
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="a square's side, restored at a time (96; at full resolution 64; .tflite: the model's own)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="pixels that neighbouring tiles share (12; at full resolution 8; .tflite: its own)",
    )


def add_computation(parser: argparse.ArgumentParser) -> None:
    """Add what a network is computed with, and how exactly."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the computation; bfloat16 needs a processor with instructions for it (float32)",
    )
    add_backend(parser)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add `--backend`, which `rnan_tf.cli.run_command` acts upon before it imports the command."""
    parser.add_argument("--backend", choices=BACKENDS, help="what Keras computes with (tensorflow)")


def check_backend(backend: str | None, model: str | None, fast: bool = False) -> None:
    """Check that Keras runs the network that `--model` or `--fast` asks for, if `--backend` is given.

    Raises:
        InputError: another runtime does.
    """
    from rnan_tf.restoring.runtimes import runs_on_keras

    if backend and (fast or (model and not runs_on_keras(model))):
        raise InputError(f"{'`fast`' if fast else model}: its runtime is not Keras; leave `backend` out")


def one_thread_an_operator(model: str | None) -> None:
    """Have TensorFlow compute every operator by one thread, if Keras restores: its tiles keep the other cores busy.

    TensorFlow asks once, when it starts; TF_NUM_INTRAOP_THREADS in the environment overrules.

    Args:
        model: that of `--model`, if any.
    """
    from rnan_tf.restoring.runtimes import runs_on_keras

    if not model or runs_on_keras(model):
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
