"""Restore camera raw files: demosaicing in the camera's colours, denoising, then sRGB."""

from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.noise import VISIBLE, measure_noise
from rnan_tf.photos.photo import Photo, as_photo
from rnan_tf.photos.raw import RawPhoto, mosaic_planes
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.tiling import Progress
from rnan_tf.tasks.strength import Found
from rnan_tf.tasks.task import get_task

# The network for white noise takes what demosaicing has spread over neighbours for less than it is: told so many times
# the mosaic's sigma, it does best. Before demosaicing, detail is lost. docs/benchmarks.md has the measurements.
SPREAD = 1.6


def noise_to_remove(raw: RawPhoto, task: str | None, sigma: float | np.ndarray | None) -> Found | None:
    """Decide how much noise is taken from a raw photograph.

    It is measured on the mosaic's four planes, where demosaicing has not smoothed it yet.

    Args:
        raw: the photograph.
        task: that was asked for by its name, which leaves the noise.
        sigma: that was asked for, or those of parts of the photograph; None for what it shows.

    Returns:
        The mosaic's sigma behind sRGB's curve, or those of parts of the photograph; None where all noise stays.

    Raises:
        InputError: a sigma goes with the task.
    """
    if task is not None:
        if sigma is not None:
            get_task(task).check_has("sigma")
        return None
    if sigma is not None:
        return Found(sigma) if np.any(sigma) else None
    noise = measure_noise(mosaic_planes(raw.mosaic.pixels))
    if noise.visible < VISIBLE:
        return None
    return Found(noise.visible if noise.sigmas is None else noise.sigmas)


def check_demosaics(restorer: Restorer) -> None:
    """Check that a network may be given raw photographs.

    Raises:
        InputError: it restores no mosaics.
    """
    if not restorer.task.mosaic:
        raise InputError(f"{restorer.runtime.name}: restores no mosaics, and so no raw photographs; leave `model` out")


def restore_raw(
    raw: RawPhoto,
    demosaicer: Restorer,
    linear: bool = False,
    denoiser: Restorer | None = None,
    sigma: float | np.ndarray = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Photo:
    """Restore a raw photograph.

    Args:
        raw: the photograph.
        demosaicer: a network of task "demosaic".
        linear: leave out sRGB's curve, and the profile.
        denoiser: a network of task "denoise"; None leaves the noise.
        sigma: of the mosaic's noise; see `Restorer.__call__`.
        progress: see `Restorer.__call__`.
        **options: its others, but for `cfa`, which the file says.

    Returns:
        The photograph, (H, W, 3) uint16, upright.
    """
    passes = 1 if denoiser is None else 2
    photo = as_photo(demosaicer(raw.mosaic, cfa=raw.cfa, progress=_part(progress, 0, passes), **options))
    if denoiser is not None and denoiser.card.strengths is not None:
        told = np.clip(np.multiply(SPREAD, sigma), *denoiser.card.strengths)
        photo = as_photo(denoiser(photo, sigma=told, progress=_part(progress, 1, passes), **options))
    return raw.develop(photo, linear)


def _part(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Return the `progress` of one of several passes."""
    return progress and (lambda done, total: progress(index * total + done, count * total))
