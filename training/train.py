"""Train RNAN: `python training/train.py --task demosaic`. Run again with the same --run-dir, it continues."""

import contextlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.errors import command
from rnan_tf.quiet import import_tensorflow

tf = import_tensorflow()

from training.config import default_model, parse_arguments
from training.run import Run
from training.strategy import is_chief, make_strategy, naming_lost_workers


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, train, and print the closing table."""
    asked, placement, run_dir = parse_arguments(argv)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    run_dir = run_dir or Path("runs") / f"{asked.task}-{asked.model or default_model(has_gpu)}"
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


if __name__ == "__main__":
    sys.exit(main())
