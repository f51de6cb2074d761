"""Train RNAN: `python training/train.py --task demosaic`, the same as `rnan-tf train --task demosaic`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs where only the dependencies are installed

from rnan_tf.cli import run_command

if __name__ == "__main__":
    sys.exit(run_command("train"))
