"""Checkpoints: all that a run needs to go on as if it had never stopped."""

import json
import os
import re
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras

from rnan_tf.errors import JobError, first_line, is_out_of_memory
from rnan_tf.files import replacing

KEEP = 2
# The constants of a network that `init` may bring, besides its weights.
CONSTANTS = ("normalize_over", "value_range")


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
    if target.exists():  # the run was resumed from it and has done no step since
        return
    with replacing(target) as temporary:
        temporary.mkdir()
        try:
            model.save_weights(temporary / "model.weights.h5")
        except RuntimeError as error:  # so h5py says that the disk was full when it closed the file
            raise OSError(str(error)) from error
        constants = {name: getattr(model, name) for name in CONSTANTS}
        versions = {"keras": keras.__version__, "backend": keras.backend.backend()}
        progress_json = {**asdict(progress), **versions, "network": constants}
        (temporary / "progress.json").write_text(json.dumps(progress_json))
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
        JobError: there are or were checkpoints, or there is a `best.keras`, and no checkpoint is whole; or a whole one
            cannot be read or does not fit, in which case nothing is set aside.
    """
    for candidate in _newest_first(folder):
        try:
            return _load(candidate, model)
        except Damaged as error:
            if not set_aside:
                continue
            print(f"damaged checkpoint set aside: {candidate} ({error})", file=sys.stderr)
            aside = candidate.with_name(f"damaged-{candidate.name}")
            shutil.rmtree(aside, ignore_errors=True)
            candidate.rename(aside)
    best = folder.parent / "best.keras"
    if best.exists() or any(folder.glob("*step-*")):
        advice = f", with `init` {best}" if best.exists() else ""
        raise JobError(f"{folder}: no checkpoint is whole; start anew in another `run_dir`{advice}")
    return Progress()


class Damaged(Exception):
    """A checkpoint that lacks a file, or whose file is not what it was written as."""


def _load(checkpoint, model):
    try:
        data = _read_json(checkpoint)
        written_with, backend = data.pop("keras", None), data.pop("backend", "tensorflow")
        del data["network"]
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # all that Keras does about an optimizer that does not fit
            model.load_weights(checkpoint / "model.weights.h5")
        if backend != (now := keras.backend.backend()):
            print(f"{checkpoint.name} was written on {backend}; the run resumes on {now}", flush=True)
        return Progress(**data)
    except (Damaged, JobError):
        raise
    except Exception as error:  # Keras raises whatever it and its HDF5 reader meet
        if is_out_of_memory(error):
            raise JobError(f"{checkpoint}: out of memory while it was read; end other programs first") from error
        _check_weights(checkpoint)
        versions = ""
        if written_with and written_with != keras.__version__:
            versions = f"; it was written with Keras {written_with}, this is {keras.__version__}: install that one"
        raise JobError(f"{checkpoint}: whole, but cannot be loaded ({first_line(error)}){versions}") from error


def _read_json(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint's `progress.json` holds."""
    path = checkpoint / "progress.json"
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise Damaged(first_line(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not isinstance(data, dict) or "step" not in data:
        raise Damaged("progress.json does not say the step")
    data.setdefault("network", None)
    return data


def _check_weights(checkpoint):
    """Raise `Damaged` only if the file is there, can be read from its first to its last byte, and is no whole HDF5."""
    path = checkpoint / "model.weights.h5"
    try:
        with open(path, "rb") as file:
            while file.read(2**20):
                pass
    except FileNotFoundError as error:
        raise Damaged("model.weights.h5 is missing") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        with h5py.File(path) as file:
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if "errno" in str(error) or "alloc" in str(error):  # the system's fault, as HDF5 words it
            raise _unreadable(path, error) from error
        raise Damaged(first_line(error)) from error


def _unreadable(path, error):
    return JobError(
        f"{path}: cannot be read ({getattr(error, 'strerror', None) or first_line(error)}); nothing is changed, "
        "run the command again once it can"
    )


def checkpoint_constants(folder: Path) -> dict[str, Any] | None:
    """Return the `CONSTANTS` of the network in the newest checkpoint that can be read; None if none has them."""
    for candidate in _newest_first(folder):
        try:
            return _read_json(candidate)["network"]
        except Damaged:
            continue
    return None


def _newest_first(folder):
    try:
        names = os.listdir(folder)  # a glob would take a folder that cannot be listed for an empty one
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    return [folder / name for name in sorted(names, reverse=True) if re.fullmatch(r"step-\d{9}", name)]
