"""Train RNAN: `python training/train.py --task demosaic`. Run again with the same --run-dir, it continues."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.errors import command
from rnan_tf.quiet import import_tensorflow

tf = import_tensorflow()

from training.config import parse_arguments
from training.run import Run


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, train, and print the closing table."""
    asked, run_dir = parse_arguments(argv)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    config = asked.resolved(has_gpu)
    why = "asked for" if asked.model else "a GPU is visible" if has_gpu else "no GPU is visible; --model rnan overrules"
    print(f"model {config.model} ({why})", flush=True)
    run = Run(config, run_dir or Path("runs") / f"{config.task}-{config.model}")
    if stopped := run.train():
        print(f"stopped at step {run.progress.step} of {config.steps}; run the same command again to go on")
        return 128 + stopped  # as shells do
    print(run.closing_table())
    print(f"model:   {run.run_dir / 'best.keras'}\npicture: {run.run_dir / 'panel.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
