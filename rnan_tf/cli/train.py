"""Train RNAN: `python training/train.py --task demosaic`. Run again with the same --run-dir, it continues."""

import contextlib
import dataclasses
import io
import sys
from pathlib import Path

import tensorflow as tf

from rnan_tf.cli.options import add_old_level, add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.extras import check_extra
from rnan_tf.tasks.task import get_task
from rnan_tf.training.config import TrainConfig, default_model
from rnan_tf.training.run import Run
from rnan_tf.training.strategy import STRATEGIES, Placement, is_chief, make_strategy, naming_lost_workers


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, train, and print the closing table."""
    asked, placement, run_dir = parse_arguments(argv)
    check_extra("train")  # the curves are drawn only at the first validation
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    run_dir = run_dir or Path("runs") / f"{asked.task}-{asked.model or default_model(get_task(asked.task), has_gpu)}"
    config = asked.resolved(has_gpu, run_dir)
    strategy = make_strategy(placement, config.batch_size)  # before any operation
    chief = is_chief(strategy)
    only_chief = contextlib.redirect_stdout(sys.stdout if chief else io.StringIO())
    with only_chief, naming_lost_workers(strategy):
        found = "a GPU is visible" if has_gpu else "no GPU is visible; --model rnan overrules"
        print(f"model {config.model} ({'asked for' if asked.model else found})", flush=True)
        run = Run(config, run_dir, strategy, placement.data_service)
        if stopped := run.train():
            print(f"stopped at step {run.progress.step} of {config.steps}; run the same command again to go on")
            return 128 + stopped  # as shells do
        if chief:
            print(run.closing_table())
            print(f"model:   {run.run_dir / 'best.keras'}\npicture: {run.run_dir / 'panel.png'}")
    return 0


def parse_arguments(argv: list[str] | None) -> tuple[TrainConfig, Placement, Path | None]:
    """Read the command line of `rnan-tf train`.

    Args:
        argv: arguments, None for the process's own.

    Returns:
        (configuration as given, where to train, run folder as given).

    Raises:
        InputError: an argument is unknown or not of its kind.
    """
    parser = Parser(prog="rnan-tf train", description="Train RNAN; run again to continue.")
    for option in dataclasses.fields(TrainConfig):
        settings = dict(option.metadata)
        if "help" not in settings:
            continue  # in files only
        if option.name == "task":
            add_task(parser, f"{settings['help']} ({option.default})", default=option.default)
            continue
        if option.type in (int, float, int | None, float | None):
            settings["type"] = float if "float" in str(option.type) else int
        if option.type is bool:
            settings["action"] = "store_true"
        elif option.default not in (None, ()):
            settings["help"] += f" ({option.default})"
        parser.add_argument(f"--{option.name.replace('_', '-')}", default=option.default, **settings)
    add_old_level(parser)
    parser.add_argument("--run-dir", type=Path, help="folder for all results (runs/TASK-MODEL)")
    where = parser.add_argument_group("where it runs")
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
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(argv)).items()}
    run_dir = arguments.pop("run_dir")
    placement = Placement(*(arguments.pop(field.name) for field in dataclasses.fields(Placement)))
    return TrainConfig(**arguments), placement, run_dir
