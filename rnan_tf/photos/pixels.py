"""Pixel values: integers at the edges, float32 in [0, 1] inside, and the colour transforms between them."""

import numpy as np

from rnan_tf.errors import InputError, JobError

# The colours that a Bayer sensor samples at (0,0) (0,1) (1,0) (1,1); the first is the reference's.
CFA_PATTERNS = ("GRBG", "RGGB", "BGGR", "GBRG")


def peak(dtype: np.dtype) -> int:
    """Return the largest value of uint8 or uint16; `InputError` for another dtype."""
    if dtype not in (np.uint8, np.uint16):
        raise InputError(f"The dtype must be uint8 or uint16. Received: {dtype}")
    return np.iinfo(dtype).max


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Scale uint8 or uint16 pixels, any shape, to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(peak(pixels.dtype))


def from_float(image: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Clip to [0, 1], scale and round to the nearest level: the exact inverse of `to_float`.

    Args:
        image: floating point, any shape.
        dtype: uint8 or uint16.

    Raises:
        InputError: another dtype.
        JobError: a value is not finite.
    """
    dtype = np.dtype(dtype)
    top = np.float32(peak(dtype))
    image = np.asarray(image, np.float32)
    if not np.isfinite(image).all():
        raise JobError("the result has values that are not finite; the model or its weights are broken")
    return np.asarray(np.rint(np.clip(image, 0, 1) * top), dtype)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return uint16 pixels, any shape, as the nearest uint8 levels."""
    # 65535 is 257 * 255. What the sum would carry over is 255 already.
    return np.asarray((np.minimum(pixels, 65535 - 128) + np.uint16(128)) // np.uint16(257), np.uint8)


def rgb_to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """JPEG's colour transform (full-range BT.601, as in JFIF).

    Args:
        rgb: (..., 3), range [0, 1].

    Returns:
        (..., 3) float32: Y in [0, 1]; Cb and Cr around 128 / 255, not clipped.
    """
    red, green, blue = np.moveaxis(np.asarray(rgb, np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, (blue - luma) / 1.772 + 128 / 255, (red - luma) / 1.402 + 128 / 255], axis=-1)


def ycbcr_to_rgb(ycc: np.ndarray) -> np.ndarray:
    """The inverse of `rgb_to_ycbcr`: (..., 3) float32, not clipped."""
    luma, blue_difference, red_difference = np.moveaxis(np.asarray(ycc, np.float32), -1, 0)
    red = luma + 1.402 * (red_difference - 128 / 255)
    blue = luma + 1.772 * (blue_difference - 128 / 255)
    return np.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=-1)


def rgb_to_gray_8bit(pixels: np.ndarray) -> np.ndarray:
    """The gray of the denoise-gray protocol: MATLAB's `rgb2gray`, bit-exact with the reference's own files.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (H, W, 1) uint8.

    Raises:
        InputError: not 8-bit RGB.
    """
    if pixels.dtype != np.uint8 or pixels.shape[-1] != 3:
        raise InputError(f"pixels must be uint8 RGB. Received: shape {pixels.shape}, {pixels.dtype}")
    # MATLAB's weights in full; the usual four digits (0.2989 0.5870 0.1140) differ by a level on 0.4 % of pixels.
    weights = np.array([[0.298936021293775], [0.587043074451121], [0.114020904255103]])
    return np.asarray(np.floor(pixels @ weights + 0.5), np.uint8)
