"""Camera raw files: the sensor's mosaic, and the way from the camera's colours to sRGB. LibRaw reads them.

The demosaicing network has seen mosaics of 8-bit sRGB photographs. So it gets a mosaic that looks like theirs: white
balanced, clipped where the first channel saturates, behind sRGB's curve. What it returns is linear light again once the
curve is undone; only then the camera's matrix can mix its channels.
"""

import io
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageCms

from rnan_tf.errors import ImageError, InputError, first_line
from rnan_tf.extras import check_extra
from rnan_tf.photos.finding import RAW_EXTENSIONS
from rnan_tf.photos.metadata import NO_METADATA, Metadata, read_raw_metadata
from rnan_tf.photos.photo import MAX_PIXELS, Photo, read_bytes
from rnan_tf.photos.pixels import CFA_PATTERNS, from_float, to_float

# XYZ of linear sRGB with white D65, as IEC 61966-2-1 has it.
_SRGB_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
# Of Olympus, Panasonic and Fujifilm. CR3 has a box of its own, the others are TIFF files.
_RAW_SIGNATURES = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW")
_PHOTOMETRIC, _RAW_PIXELS = 262, (32803, 34892)  # a TIFF's tag, and its values for a mosaic and for linear light


@dataclass(frozen=True, eq=False)
class RawPhoto:
    """A raw photograph, not turned yet.

    Attributes:
        samples: (H, W) float32, the active area: 0 is black, 1 where a channel saturates. Noise goes below 0.
        cfa: the colours at (0,0) (0,1) (1,0) (1,1), one of `CFA_PATTERNS`.
        white_balance: gains of red, green and blue, the smallest of them 1.
        to_srgb: (3, 3), white-balanced camera RGB -> linear sRGB; its rows add up to 1.
        flip: what makes it upright, in LibRaw's way: 1 mirrors rows, 2 columns, 4 transposes after that.
        metadata: what else the file says.
    """

    samples: np.ndarray
    cfa: str
    white_balance: np.ndarray
    to_srgb: np.ndarray
    flip: int = 0
    metadata: Metadata = NO_METADATA

    @cached_property
    def mosaic(self) -> Photo:
        """What a demosaicing network should see: (H, W, 1) uint16, white balanced and behind sRGB's curve.

        Highlights are clipped at the saturation of the channel with the smallest gain, so that they stay white.
        """
        encoded = np.empty((*self.samples.shape, 1), np.uint16)
        for (y, x), color in zip(np.ndindex(2, 2), self.cfa, strict=True):
            gain = np.float32(self.white_balance["RGB".index(color)])
            encoded[y::2, x::2, 0] = from_float(srgb_encode(self.samples[y::2, x::2] * gain), np.uint16)
        return Photo(encoded, None, None, "TIFF")

    def develop(self, demosaiced: Photo, linear: bool = False) -> Photo:
        """Turn the camera's colours into sRGB, and the photograph upright.

        Args:
            demosaiced: what a network made of `mosaic()`, (H, W, 3) uint16.
            linear: leave out sRGB's curve, and the profile.

        Returns:
            (H, W, 3) uint16, or (W, H, 3) if it is turned, with sRGB's profile and the metadata.
        """
        result = np.empty_like(demosaiced.pixels)
        matrix = self.to_srgb.T.astype(np.float32)
        for row in range(0, len(result), 256):  # the float32 copy of a large photograph would be twice its size
            rgb = srgb_decode(to_float(demosaiced.pixels[row : row + 256])) @ matrix
            result[row : row + 256] = from_float(rgb if linear else srgb_encode(rgb), np.uint16)
        result = result[:: -1 if self.flip & 2 else 1, :: -1 if self.flip & 1 else 1]
        upright = np.ascontiguousarray(result.swapaxes(0, 1) if self.flip & 4 else result)
        return Photo(upright, None, None if linear else srgb_profile(), "TIFF", self.metadata)


def mosaic_planes(mosaic: np.ndarray) -> np.ndarray:
    """Return the four planes of a mosaic, in which every pixel has one colour's samples beside it.

    Args:
        mosaic: (H, W, 1) uint8 or uint16.

    Returns:
        (H // 2, W // 2, 4) of the same dtype.
    """
    height, width = (size - size % 2 for size in mosaic.shape[:2])
    return np.concatenate([mosaic[y:height:2, x:width:2] for y, x in np.ndindex(2, 2)], axis=2)


def is_raw(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's name is that of a camera raw file, whose content often passes for a TIFF's."""
    return Path(path).suffix.lower() in RAW_EXTENSIONS


def is_raw_data(data: bytes) -> bool:
    """Return whether a file without a name is a camera's raw file: of a kind of its own, or a TIFF with a mosaic."""
    if data.startswith(_RAW_SIGNATURES) or data[4:12] == b"ftypcrx ":
        return True
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    import tifffile

    # Damaged bytes lead tifffile to errors of many kinds.
    with suppress(Exception), tifffile.TiffFile(io.BytesIO(data)) as tiff:
        first = tiff.pages.first
        pages = [first, *(page.aspage() for page in first.pages or ())]
        return data[8:10] == b"CR" or any(page.tags.valueof(_PHOTOMETRIC) in _RAW_PIXELS for page in pages)
    return False


def read_raw(
    path: str | os.PathLike[str], white_balance: Sequence[float] | None = None, max_pixels: int = MAX_PIXELS
) -> RawPhoto:
    """Read a camera raw file.

    Args:
        path: the file, of a sensor with a Bayer pattern.
        white_balance: gains of red, green and blue; None takes the camera's own, daylight's where it notes none.
        max_pixels: larger ones are refused before they are decoded.

    Raises:
        ImageError: it cannot be read, is damaged, or holds no Bayer mosaic.
        InputError: rawpy is missing, or the gains are none.
    """
    check_extra("raw", str(path))  # before a large file is read
    return raw_of(read_bytes(Path(path)), str(path), white_balance, max_pixels)


def raw_of(
    data: bytes, name: str, white_balance: Sequence[float] | None = None, max_pixels: int = MAX_PIXELS
) -> RawPhoto:
    """Decode what `read_raw` reads.

    Args:
        data: the file's bytes.
        name: what messages call it.
        white_balance: see `read_raw`.
        max_pixels: see `read_raw`.

    Raises:
        ImageError, InputError: see `read_raw`.
    """
    check_extra("raw", name)
    asked = None if white_balance is None else check_gains(white_balance)
    with _opened(data, name) as raw:
        height, width = raw.sizes.height, raw.sizes.width
        if height * width > max_pixels:
            raise ImageError(f"has {width} x {height} pixels, over the limit of {max_pixels}; raise `max_pixels`")
        cfa = _pattern(raw)
        gains = asked if asked is not None else _camera_gains(raw)
        samples, flip = _samples(raw), raw.sizes.flip
        return RawPhoto(samples, cfa, gains / gains.min(), _camera_matrix(raw), flip, read_raw_metadata(data))


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    """Yield LibRaw's view of a file; whatever is wrong with it becomes one line that names the file."""
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            yield raw
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:  # rawpy raises more than LibRaw's errors, such as NotImplementedError on damaged data
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else first_line(error)
        raise ImageError(
            f"{name}: LibRaw cannot read it ({text}); it is damaged, cut short or of an unknown camera: copy it again, "
            "or convert it to DNG"
        ) from error


def _pattern(raw: Any) -> str:
    """Return the colours of the active area's first four pixels."""
    import rawpy

    if raw.raw_type != rawpy.RawType.Flat:
        raise ImageError(
            "holds three colours a pixel, as small raws (sRAW), lossy DNGs and ProRAW do, and no mosaic; develop it to "
            "a TIFF in a raw converter, and restore that"
        )
    if raw.num_colors == 1 or raw.raw_pattern is None:
        raise ImageError("comes from a monochrome sensor: there is nothing to demosaic; develop it in a raw converter")
    rows, columns = raw.raw_pattern.shape
    names = raw.color_desc.decode()
    # Of the active area; `raw_pattern` begins at the sensor's corner.
    cfa = "".join(names[index] for index in raw.raw_colors_visible[:2, :2].ravel())
    if (rows, columns) != (2, 2) or cfa not in CFA_PATTERNS:
        pattern = cfa if (rows, columns) == (2, 2) else f"{columns} x {rows} pixels (X-Trans, or another)"
        raise ImageError(
            f"its sensor's pattern is {pattern}, and the network knows Bayer's alone ({', '.join(CFA_PATTERNS)}); "
            "develop it in a raw converter"
        )
    return cfa


def _samples(raw: Any) -> np.ndarray:
    """Scale the active area by the black and the white level of each of the four colours."""
    values, colors = raw.raw_image_visible, raw.raw_colors_visible[:2, :2]
    whites = raw.camera_white_level_per_channel or [raw.white_level] * 4
    samples = np.empty(values.shape, np.float32)
    for y, x in np.ndindex(2, 2):
        black = raw.black_level_per_channel[colors[y, x]]
        white = min(whites[colors[y, x]] or raw.white_level, raw.white_level)
        if white <= black:
            raise ImageError(f"its white level {white} is not above its black level {black}; it is damaged")
        samples[y::2, x::2] = (values[y::2, x::2].astype(np.float32) - black) / np.float32(white - black)
    return samples


def check_gains(gains: Sequence[float]) -> np.ndarray:
    """Return white balance gains as an array.

    Raises:
        InputError: they are not three positive numbers.
    """
    array = np.asarray(gains, np.float64)
    if array.shape != (3,) or not np.isfinite(array).all() or array.min() <= 0:
        raise InputError(f"`white_balance` must be three gains above 0, of red, green and blue; got {gains}")
    return array


def _camera_gains(raw: Any) -> np.ndarray:
    for gains in (raw.camera_whitebalance, raw.daylight_whitebalance):
        three = np.asarray(gains[:3], np.float64)
        if np.isfinite(three).all() and three.min() > 0:
            return three
    raise ImageError("does not say its white balance; give `white_balance`")


def _camera_matrix(raw: Any) -> np.ndarray:
    """Return LibRaw's matrix from white-balanced camera RGB to linear sRGB.

    A DNG brings its own, which LibRaw has turned into this already. For others LibRaw knows the matrix from XYZ to the
    camera's RGB; its rows are scaled so that sRGB's white is the camera's.
    """
    matrix = np.asarray(raw.color_matrix, np.float64)[:3, :3]
    if matrix[0, 0] > 0.125:  # LibRaw's own test for whether there is one
        return matrix
    from_xyz = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    if not from_xyz.any():
        raise ImageError("neither it nor LibRaw knows the camera's colours; convert it to DNG")
    from_srgb = from_xyz @ _SRGB_TO_XYZ
    return np.asarray(np.linalg.inv(from_srgb / from_srgb.sum(axis=1, keepdims=True)))


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """Apply sRGB's curve (IEC 61966-2-1) to linear light, clipped to [0, 1]; float32, any shape."""
    x = np.clip(linear, 0, 1).astype(np.float32)
    return np.asarray(np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** np.float32(1 / 2.4) - 0.055))


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_encode`."""
    x = np.clip(encoded, 0, 1).astype(np.float32)
    return np.asarray(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** np.float32(2.4)))


def srgb_profile() -> bytes:
    """Return sRGB's ICC profile, without the time of its making: equal photographs are equal files."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]
