"""Read and write photographs: 8 and 16 bit, gray and RGB, alpha, EXIF orientation, ICC profiles, metadata."""

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import features

from rnan_tf.errors import ImageError, InputError, JobError
from rnan_tf.files import write_atomically
from rnan_tf.photos.decoding import decode
from rnan_tf.photos.encoding import encode, fitting_profile
from rnan_tf.photos.jpeg_coding import JpegCoding
from rnan_tf.photos.metadata import NO_METADATA, Metadata, left_out_line
from rnan_tf.photos.noise import Noise, measure_noise
from rnan_tf.photos.pixels import peak, to_8_bits

MAX_PIXELS = 100_000_000

# Of the files that are written.
EXTENSIONS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".avif": "AVIF",
}
READABLE = (*EXTENSIONS, ".heic", ".heif")
_16_BITS = ("PNG", "TIFF")  # formats that have room for so many
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # of libjpeg and of the WebP format


@dataclass(frozen=True, eq=False)
class Photo:
    """An image as it is in a file, upright.

    Args:
        pixels: (H, W, C) uint8 or uint16, C = 1 (gray) or 3 (RGB).
        alpha: (H, W), the dtype of `pixels`, not premultiplied; None for an opaque image.
        icc_profile: the embedded colour profile, or None.
        format: "PNG", "JPEG", "TIFF", "BMP", "WEBP", "AVIF" or "HEIF".
        metadata: what else the file says.
        jpeg: how the JPEG file was compressed, and one is to be; None for other files.

    Raises:
        InputError: an array with another shape or dtype.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc_profile: bytes | None
    format: str
    metadata: Metadata = NO_METADATA
    jpeg: JpegCoding | None = None

    @cached_property
    def noise(self) -> Noise:
        """What its blocks tell of its noise; the task is chosen by it, and then the strength."""
        return measure_noise(self.pixels)

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or pixels.size == 0:
            raise InputError(f"pixels must have shape (H, W, 1) or (H, W, 3). Received: shape {pixels.shape}")
        peak(pixels.dtype)
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            raise InputError(
                f"alpha must have shape {pixels.shape[:2]} and dtype {pixels.dtype}, as the pixels have. "
                f"Received: shape {alpha.shape}, dtype {alpha.dtype}"
            )


# === Reading ===


def read_photo(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a still PNG, JPEG, TIFF, BMP, WebP, AVIF or HEIC image; its content, not its name, tells the format.

    Args:
        path: the file.
        max_pixels: larger images are refused, from their header, before anything is decoded.

    Returns:
        The image in its own bit depth: palettes become RGB, 1-bit becomes gray, the EXIF orientation is applied.

    Raises:
        ImageError: the file cannot be read, or is not an image of a supported kind.
    """
    path = Path(path)
    return photo_of(read_bytes(path), str(path), max_pixels)


def photo_of(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode what `read_photo` reads.

    Args:
        data: the file's bytes.
        name: what messages call it.
        max_pixels: see `read_photo`.

    Raises:
        ImageError: see `read_photo`.
    """
    if not data:
        raise ImageError(f"{name}: is empty (0 bytes); copy it again")
    try:
        found = decode(data, max_pixels)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:  # decoders raise anything from struct.error to KeyError on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"{name}: cannot be decoded ({reason}); it is damaged, cut short or of a rare kind: "
            "copy it again, or save it as PNG in an image editor"
        ) from error
    array, alpha = found.array, None
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[-1] in (2, 4):
        array, alpha = np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1])
    return Photo(array, alpha, found.icc_profile, found.format, found.metadata, found.jpeg)


def read_bytes(path: Path) -> bytes:
    """Return what a photograph's file holds.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path") from None
    except OSError as error:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder; name a photograph in it") from None
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


# === Writing ===


def check_writable(path: str | os.PathLike[str], photo: Photo, scale: int = 1) -> None:
    """Check, before a long computation, that the format of `path` can hold `photo`.

    Args:
        path: the file to write; its extension tells the format.
        photo: the image, whose bit depth and alpha are kept.
        scale: how many times larger than `photo`, on each side, the image to write is.

    Raises:
        ImageError: it cannot; the message names a format that can.
    """
    path = Path(path)
    file_format = EXTENSIONS.get(path.suffix.lower())
    if file_format is None:
        raise ImageError(f"{path}: no format has the extension {path.suffix!r}; use one of {' '.join(EXTENSIONS)}")
    if file_format == "AVIF" and not features.check("avif"):
        raise ImageError(f"{path}: this build of Pillow cannot write AVIF; write a .png or .tif file")
    if photo.pixels.dtype == np.uint16 and file_format not in _16_BITS:
        raise ImageError(f"{path}: {file_format} holds 8 bits per channel, the image has 16; write a .png or .tif file")
    if photo.alpha is not None and file_format in ("JPEG", "BMP"):
        raise ImageError(f"{path}: {file_format} cannot hold the image's transparency; write a .png or .tif file")
    height, width = (side * scale for side in photo.pixels.shape[:2])
    limit = _LARGEST_SIDE.get(file_format, math.inf)
    if max(height, width) > limit:
        raise ImageError(
            f"{path}: {file_format} holds {limit} pixels a side, the image has {width} x {height}; "
            "write a .png or .tif file"
        )


def fitted_depth(path: str | os.PathLike[str], photo: Photo) -> Photo:
    """Return an opaque photograph as a file holds it: 16 bits a channel become 8 where a format has no room for more.

    Args:
        path: the file to write; its extension tells the format.
        photo: one whose bit depth is not the user's choice, such as a developed raw photograph.
    """
    if photo.pixels.dtype != np.uint16 or EXTENSIONS.get(Path(path).suffix.lower()) in _16_BITS:
        return photo
    return replace(photo, pixels=to_8_bits(photo.pixels))


def as_photo(source: str | os.PathLike[str] | Photo | np.ndarray) -> Photo:
    """Return a photograph of what may stand for one.

    Args:
        source: a path, which is read, a `Photo`, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16.

    Raises:
        ImageError: the file cannot be read.
        InputError: the array is no image.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return Photo(source[..., None] if source.ndim == 2 else source, None, None, "PNG")
    return read_photo(source)


def write_photo(path: str | os.PathLike[str], photo: Photo | np.ndarray, jpeg_quality: int | None = None) -> None:
    """Write an image in its own bit depth, in the format of the path's extension.

    PNG, TIFF, BMP and WebP are lossless. JPEG is compressed as the photograph was, else at quality 95 without chroma
    subsampling. A reader of `path` sees the old file or the whole new one, and a failure leaves nothing behind. The ICC
    profile is left out where it cannot apply (a gray profile on RGB pixels, or the reverse), EXIF and XMP data where
    they are too large (`Metadata.fitting`).

    Args:
        path: the file; its folder must exist.
        photo: the image, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16; its `format` plays no part.
        jpeg_quality: of a JPEG file, 1-100, in place of the photograph's own.

    Raises:
        ImageError: the format cannot hold the image, or the file cannot be written.
    """
    photo = as_photo(photo)
    check_writable(path, photo)
    data = photo_bytes(photo, EXTENSIONS[Path(path).suffix.lower()], os.fspath(path), jpeg_quality)
    try:
        write_atomically(path, data)
    except JobError as error:
        raise ImageError(str(error)) from error


def left_out(photo: Photo, file_format: str) -> tuple[str, ...]:
    """Return a line for each thing that a file of a format cannot hold beside the pixels.

    Args:
        photo: what is written.
        file_format: one of `EXTENSIONS`.
    """
    lines, profile, channels = photo.metadata.fitting(file_format)[1], photo.icc_profile, photo.pixels.shape[2]
    if profile and not fitting_profile(profile, channels, file_format):
        fits = fitting_profile(profile, channels, "PNG")
        why = f"which {file_format} cannot hold" if fits else "which is not for the result's channels"
        lines += (left_out_line("ICC profile", profile, why),)
    return lines


def photo_bytes(photo: Photo, file_format: str, name: str, jpeg_quality: int | None = None) -> bytes:
    """Encode what `write_photo` writes.

    Args:
        photo: the image.
        file_format: one of `EXTENSIONS`.
        name: what messages call it.
        jpeg_quality: see `write_photo`.

    Raises:
        ImageError: it cannot be encoded.
    """
    array = photo.pixels
    if photo.alpha is not None:
        array = np.concatenate([array, photo.alpha[..., None]], axis=-1)
    try:
        return encode(array, file_format, photo.icc_profile, photo.metadata, photo.jpeg, jpeg_quality)
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # every format has a largest width and height
        raise ImageError(f"{name}: cannot be encoded ({error}); write a .png or .tif file") from error
