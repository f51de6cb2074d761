"""Restore one photograph in one call, as the command line does."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo, as_photo, check_writable, write_photo
from rnan_tf.restoring.choosing import choose, implied_task, preset_of
from rnan_tf.restoring.restorer import Restorer, Source


def restore(
    photo: Source,
    target: str | os.PathLike[str] | None = None,
    *,
    task: str | None = None,
    model: str | None = None,
    fast: bool = False,
    precision: str = "float32",
    **options: Any,
) -> Photo | np.ndarray:
    """Restore one photograph; for several make a `Restorer`, which loads its network once.

    Args:
        photo: see `Restorer.__call__`.
        target: the file to write; its extension tells the format.
        task: whose preset is taken: one of `list_presets()`. For "jpeg" that of "jpeg-color" is taken for a colour
            photograph, if there is one. Without `task` and `model` it is what the photograph needs, by an option that
            only one task has or by its look.
        model: another network; see `Restorer.from_preset`.
        fast: take the preset's int8 network.
        precision: see `Restorer.from_preset`.
        **options: those of `Restorer.__call__`, such as `sigma` or `self_ensemble`.

    Returns:
        The restored photograph; an array if `photo` is one. A photograph that needs nothing comes back as it is, and
        `target` is not written.

    Raises:
        InputError: there is no such network, the photograph cannot be read, or an option does not fit.
    """
    given = as_photo(photo)
    if model is None:
        task = task or implied_task(options)
        model = task = preset_of(task, given) if task else choose(given).preset
    if model is None:
        return photo if isinstance(photo, np.ndarray) else given
    restorer = Restorer.from_preset(model, task, fast, precision)
    if target is not None:  # before the long computation
        check_writable(target, given, restorer.card.scale)
        if isinstance(photo, (str, os.PathLike)) and Path(target).resolve() == Path(photo).resolve():
            raise InputError(f"{target} is the photograph itself and would be written over; name another file")
    restored = restorer(photo if isinstance(photo, np.ndarray) else given, **options)
    if target is not None:
        write_photo(target, restored)
    return restored
