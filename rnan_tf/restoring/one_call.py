"""Restore one photograph in one call, as the command line does."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.files import make_folder
from rnan_tf.photos.photo import Photo, as_photo, check_writable, fitted_depth, write_photo
from rnan_tf.photos.raw import is_raw, read_raw
from rnan_tf.restoring.choosing import check_raw_options, choose, implied_task, preset_of
from rnan_tf.restoring.raw_photos import check_demosaics, noise_to_remove, restore_raw
from rnan_tf.restoring.restorer import Restorer, Source


def restore(
    photo: Source,
    target: str | os.PathLike[str] | None = None,
    *,
    task: str | None = None,
    model: str | None = None,
    fast: bool = False,
    precision: str = "float32",
    white_balance: Sequence[float] | None = None,
    linear: bool = False,
    **options: Any,
) -> Photo | np.ndarray:
    """Restore one photograph; for several make a `Restorer`, which loads its network once.

    Args:
        photo: see `Restorer.__call__`; also a camera raw file, which is demosaiced, and denoised if it shows noise.
        target: the file to write; its extension tells the format. Its folder is made if need be.
        task: whose preset is taken: one of `list_presets()`. For "jpeg" that of "jpeg-color" is taken for a colour
            photograph, if there is one. Without `task` and `model` it is what the photograph needs, by an option that
            only one task has or by its look.
        model: another network; see `Restorer.from_preset`.
        fast: take the preset's int8 network.
        precision: see `Restorer.from_preset`.
        white_balance: of raw files alone: gains of red, green and blue; None takes the camera's own.
        linear: of raw files alone: leave out sRGB's curve, and the profile.
        **options: those of `Restorer.__call__`, such as `sigma` or `self_ensemble`.

    Returns:
        The restored photograph; an array if `photo` is one. A photograph that needs nothing comes back as it is, and
        `target` is not written.

    Raises:
        InputError: there is no such network, the photograph cannot be read, or an option does not fit.
        JobError: the folder of `target` cannot be made or written into.
    """
    opened = partial(Restorer.from_preset, fast=fast, precision=precision)
    if isinstance(photo, (str, os.PathLike)) and is_raw(photo):
        return _restore_raw(Path(photo), target, task, model, opened, white_balance, options | {"linear": linear})
    if white_balance is not None or linear:
        raise InputError("`white_balance` and `linear` are for raw photographs alone; leave them out")
    given = as_photo(photo)
    source = model
    if model is None:
        task = task or implied_task(options)
        source = task = preset_of(task, given) if task else choose(given).preset
    if source is None:
        return photo if isinstance(photo, np.ndarray) else given
    restorer = opened(source, task)
    if model is None and not restorer.card.conditional and restorer.card.strength:
        options.pop(restorer.card.strength, None)  # as of gray JPEGs: their preset needs none
    if target is not None:
        _check_target(target, photo, given, restorer.card.scale)
    restored = restorer(photo if isinstance(photo, np.ndarray) else given, **options)
    if target is not None:
        write_photo(target, restored)
    return restored


def _restore_raw(
    path: Path,
    target: str | os.PathLike[str] | None,
    task: str | None,
    model: str | None,
    opened: Callable[..., Restorer],
    white_balance: Sequence[float] | None,
    options: dict[str, Any],
) -> Photo:
    check_raw_options(task, **options)
    source, raw = model or preset_of("demosaic"), read_raw(path, white_balance)
    demosaicer = opened(source, task if model else None)
    check_demosaics(demosaicer)
    if target is not None:
        _check_target(target, path, fitted_depth(target, raw.mosaic))
    kept = {name: value for name, value in options.items() if name not in ("sigma", "quality", "cfa", "blend")}
    found = noise_to_remove(raw, task, options.get("sigma"))
    if found:
        denoiser = opened(preset_of("denoise"))
        denoiser.asked_strength(sigma=found.strength)
        kept |= {"denoiser": denoiser, "sigma": found.strength}
    restored = restore_raw(raw, demosaicer, **kept)
    if target is not None:
        write_photo(target, fitted_depth(target, restored))
    return restored


def _check_target(target: str | os.PathLike[str], photo: Source, given: Photo, scale: int = 1) -> None:
    """Check, before the long computation, that the result can be written."""
    check_writable(target, given, scale)
    if isinstance(photo, (str, os.PathLike)) and Path(target).resolve() == Path(photo).resolve():
        raise InputError(f"{target} is the photograph itself and would be written over; name another file")
    make_folder(Path(target).parent)
