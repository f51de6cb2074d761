"""Choose what is done to a photograph by looking at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnan_tf.errors import InputError
from rnan_tf.photos.noise import VISIBLE
from rnan_tf.photos.photo import Photo
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import list_presets

GOOD_QUALITY = 90  # a JPEG from here on shows no artifacts
# An option that only one task has -> the task.
_IMPLIED = {"sigma": "denoise", "quality": "jpeg", "cfa": "demosaic"}


@dataclass(frozen=True)
class Choice:
    """What to do to a photograph.

    Attributes:
        preset: the network's name; None for nothing.
        reason: why, as in "jpeg, since ...".
    """

    preset: str | None
    reason: str


def choose(photo: Photo) -> Choice:
    """Choose what to do: restore JPEG artifacts, take noise away, or nothing.

    Args:
        photo: as it was read.
    """
    if photo.jpeg and photo.jpeg.quality < GOOD_QUALITY:
        return Choice(preset_of("jpeg", photo), f"the JPEG's quality is under {GOOD_QUALITY}")
    if photo.noise.visible >= VISIBLE:
        return Choice("denoise" if photo.pixels.shape[2] == 3 else "denoise-gray", "it shows noise")
    quality = f"a JPEG of quality {photo.jpeg.quality}" if photo.jpeg else "no JPEG"
    shown = "shows noise that a camera or a codec has smoothed" if photo.noise.smoothed else "shows no noise"
    return Choice(None, f"it is {quality} and {shown}")


def implied_task(options: Mapping[str, Any]) -> str | None:
    """Return the task that an option implies by being given, if one does.

    Args:
        options: name -> value, None for what is not given.
    """
    return next((task for name, task in _IMPLIED.items() if options.get(name) is not None), None)


def preset_of(task: str, photo: Photo | None = None) -> str:
    """Return the name of the preset for a task.

    Args:
        task: such as "denoise" or "sr-x4". For "jpeg" of a colour photograph "jpeg-color" is taken, where there is such
            a preset.
        photo: what is to be restored.

    Raises:
        InputError: there is no such task, or no preset for it.
    """
    name, presets = get_task(task).name, list_presets()
    if name == "jpeg" and photo and photo.pixels.shape[2] == 3 and "jpeg-color" in presets:
        return "jpeg-color"
    if name not in presets:
        raise InputError(f"no network for {task} comes with rnan-tf ({', '.join(presets)} do); give `model`")
    return name


def check_raw_options(
    task: str | None = None, quality: Any = None, cfa: str | None = None, blend: float = 1, **others: Any
) -> None:
    """Check what is asked of a raw photograph.

    Args:
        task: that was asked for by its name.
        quality: see `Restorer.__call__`.
        cfa: the same.
        blend: the same.
        **others: fit.

    Raises:
        InputError: it has no such thing.
    """
    if task not in (None, "demosaic") or quality is not None:
        raise InputError("a raw photograph is demosaiced and denoised; leave other tasks and `quality` out")
    if cfa or blend != 1:
        raise InputError("a raw photograph says its pattern, and nothing is blended; leave `cfa` and `blend` out")
