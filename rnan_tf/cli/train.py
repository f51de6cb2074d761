"""Train RNAN: `python training/train.py --task demosaic`. Run again with the same --run-dir, it continues."""

import argparse
import contextlib
import dataclasses
import io
import sys
import typing
from pathlib import Path

import keras
import tensorflow as tf

from rnan_tf.cli.options import PRIVATE_NETWORK, add_backend, add_old_level, add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.extras import check_extra
from rnan_tf.tasks.task import get_task
from rnan_tf.training.config import TrainConfig, default_model, read_config
from rnan_tf.training.run import Run
from rnan_tf.training.strategy import STRATEGIES, Placement, is_chief, make_strategy, naming_lost_workers


class Asked(typing.NamedTuple):
    """What a command line of `rnan-tf train` asks for.

    Attributes:
        config: the configuration, of which much may be left open.
        placement: where to train.
        run_dir: the run's folder, None for the default.
        data_changed: go on with other photographs than the run began with.
    """

    config: TrainConfig
    placement: Placement
    run_dir: Path | None
    data_changed: bool


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, train, and print the closing table."""
    asked, placement, run_dir, data_changed = parse_arguments(argv)
    check_extra("train")  # the curves are drawn only at the first validation
    has_gpu = _has_gpu()
    run_dir = run_dir or Path("runs") / f"{asked.task}-{asked.model or default_model(get_task(asked.task), has_gpu)}"
    config = asked.resolved(has_gpu, run_dir)
    strategy = make_strategy(placement, config.batch_size)  # before any operation
    chief = is_chief(strategy)
    only_chief = contextlib.redirect_stdout(sys.stdout if chief else io.StringIO())
    with only_chief, naming_lost_workers(strategy):
        found = "a GPU is visible" if has_gpu else "no GPU is visible; --model rnan overrules"
        print(f"model {config.model} ({'asked for' if asked.model else found})", flush=True)
        with Run.open(config, run_dir, strategy, placement.data_service, data_changed) as run:
            if stopped := run.train():
                print(f"stopped at step {run.progress.step} of {config.steps}; run the same command again to go on")
                return 128 + stopped  # as shells do
            if chief:
                print(run.closing_table())
                print(f"model:   {run.folder / 'best.keras'}\npicture: {run.folder / 'panel.png'}")
    return 0


def _has_gpu():
    if keras.backend.backend() == "jax":
        return not keras.distribution.list_devices()[0].startswith("cpu")  # or a TPU
    return bool(tf.config.list_physical_devices("GPU"))  # before the strategy is made, no devices may be set up


def parse_arguments(argv: list[str] | None) -> Asked:
    """Read the command line of `rnan-tf train`, and the recipe that it names.

    Args:
        argv: arguments, None for the process's own.

    Returns:
        What it asks for.

    Raises:
        InputError: an argument is unknown or not of its kind, or the recipe cannot be read.
    """
    parser = Parser(prog="rnan-tf train", description="Train RNAN; run again to continue.")
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="a run's config.json or such a file; other options overrule it"
    )
    for option in dataclasses.fields(TrainConfig):
        # Only what is given is stored: the rest is the recipe's, or the default.
        settings = {**option.metadata, "default": argparse.SUPPRESS}
        if "help" not in settings:
            continue  # in files only
        if option.name == "task":
            add_task(parser, f"{settings.pop('help')} ({option.default})", default=argparse.SUPPRESS)
            continue
        if option.type in (int, float, int | None, float | None):
            settings["type"] = float if "float" in str(option.type) else int
        if option.type is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif option.default not in (None, ()):
            settings["help"] += f" ({option.default})"
        parser.add_argument(f"--{option.name.replace('_', '-')}", **settings)
    add_old_level(parser)
    parser.add_argument("--run-dir", type=Path, help="folder for all results (runs/TASK-MODEL)")
    parser.add_argument(
        "--data-changed", choices=("ok",), help="go on with other photographs than the run began with, its split kept"
    )
    where = parser.add_argument_group("where it runs")
    add_backend(where)
    where.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="one device, mirrored on several, multi-worker by TF_CONFIG (auto: what is there)",
    )
    where.add_argument("--devices", nargs="+", metavar="D", help="such as GPU:0 GPU:1 (all GPUs)")
    where.add_argument(
        "--data-service", metavar="ADDRESS", help="degrade on training/data_workers.py's machines: grpc://host:port"
    )
    where.add_argument("--i-know-this-network-is-private", action="store_true", help=PRIVATE_NETWORK)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(argv)).items()}
    del given["backend"]
    run_dir, recipe, data_changed = (given.pop(name) for name in ("run_dir", "recipe", "data_changed"))
    placement = Placement(*(given.pop(field.name) for field in dataclasses.fields(Placement)))
    config = read_config(recipe) if recipe else TrainConfig()
    if given.get("task", config.task) != config.task or "pairs" in given or "noise" in given:
        # Strength and chroma are not those of another task or degradation.
        config = dataclasses.replace(config, sigma=None, quality=None, subsampling=())
    return Asked(dataclasses.replace(config, **given), placement, run_dir, data_changed is not None)
