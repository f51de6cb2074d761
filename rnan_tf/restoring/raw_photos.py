"""Restore camera raw files: demosaicing in the camera's colours, then sRGB."""

from typing import Any

from rnan_tf.photos.photo import Photo, as_photo
from rnan_tf.photos.raw import RawPhoto
from rnan_tf.restoring.restorer import Restorer


def restore_raw(raw: RawPhoto, demosaicer: Restorer, linear: bool = False, **options: Any) -> Photo:
    """Restore a raw photograph.

    Args:
        raw: the photograph.
        demosaicer: a network of task "demosaic".
        linear: leave out sRGB's curve, and the profile.
        **options: those of `Restorer.__call__` but for `cfa`, which the file says.

    Returns:
        The photograph, (H, W, 3) uint16, upright.
    """
    return raw.develop(as_photo(demosaicer(raw.mosaic(), cfa=raw.cfa, **options)), linear)
