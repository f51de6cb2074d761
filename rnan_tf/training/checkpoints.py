"""Checkpoints: all that a run needs to go on as if it had never stopped."""

import json
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras

from rnan_tf.errors import JobError
from rnan_tf.files import replacing

KEEP = 2


@dataclass
class Progress:
    """Where a run is, besides its weights.

    Attributes:
        step: optimizer steps done.
        best: highest validation PSNR, dB.
        history: a row for each validation.
        metrics: state of the running epoch's metrics, where it stopped between two validations.
        dropped: steps whose loss or gradient was not finite.
        bad_in_a_row: how many of them were the last ones; see `rnan_tf.training.divergence`.
        losses: those of the last steps whose loss was not high, of which the guard takes the median.
        high_in_a_row: how many of the last steps had a high loss.
        rollbacks: how often the run went back to a checkpoint, at half the rate each time.
    """

    step: int = 0
    best: float = float("-inf")
    history: list[dict[str, float]] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    dropped: int = 0
    bad_in_a_row: int = 0
    losses: list[float] = field(default_factory=list)
    high_in_a_row: int = 0
    rollbacks: int = 0


def save_checkpoint(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Write `folder/step-N`, whole or not at all, and remove all but the two newest.

    Args:
        folder: the run's checkpoint folder.
        model: the compiled model; its optimizer, moving average and step counter are saved with it.
        progress: the rest.

    Raises:
        JobError: the disk is full or closed to us; older checkpoints are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{progress.step:09d}"
    if target.exists():
        shutil.rmtree(target)
    with replacing(target) as temporary:
        temporary.mkdir()
        try:
            model.save_weights(temporary / "model.weights.h5")
        except RuntimeError as error:  # so h5py says that the disk was full when it closed the file
            raise OSError(str(error)) from error
        (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
    for old in _newest_first(folder)[KEEP:]:
        shutil.rmtree(old)


def restore_checkpoint(folder: Path, model: keras.Model, set_aside: bool = True) -> Progress:
    """Load the newest checkpoint that is whole into a compiled model.

    Args:
        folder: the run's checkpoint folder; it need not exist.
        model: the compiled model of the same configuration.
        set_aside: rename damaged checkpoints, with a message, besides passing them over.

    Returns:
        Where the run is; a fresh `Progress` if there is no checkpoint.

    Raises:
        JobError: there are checkpoints and none is whole.
    """
    candidates = _newest_first(folder)
    for candidate in candidates:
        try:
            progress = Progress(**json.loads((candidate / "progress.json").read_text()))
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # all that Keras does about an optimizer that does not fit
                model.load_weights(candidate / "model.weights.h5")
            return progress
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, UserWarning) as error:
            if not set_aside:
                continue
            reason = str(error).splitlines()[0]
            print(f"damaged checkpoint set aside: {candidate} ({reason})", file=sys.stderr)
            aside = candidate.with_name(f"damaged-{candidate.name}")
            shutil.rmtree(aside, ignore_errors=True)
            candidate.rename(aside)
    if candidates:
        raise JobError(
            f"{folder}: no checkpoint is whole; start anew in another `run_dir`, with `init` for its best.keras"
        )
    return Progress()


def is_started(run_dir: Path, folder: Path) -> bool:
    """Return whether a run has done anything that is worth keeping.

    Args:
        run_dir: the run's folder.
        folder: its checkpoint folder.
    """
    later = [path for path in folder.glob("*step-*") if not path.name.endswith(f"{0:09d}")]
    return bool(later) or (run_dir / "best.keras").exists()


def _newest_first(folder):
    return sorted(folder.glob("step-*"), reverse=True)
