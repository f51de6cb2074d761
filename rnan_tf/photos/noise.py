"""How noisy a photograph is: all over, from place to place, and whether that can be told at all.

Reference: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2, for the
sigma of wavelet coefficients, their median magnitude over 0.6745.
"""

import warnings
from dataclasses import dataclass

import numpy as np

# Wavelets across fewer pixels than this see their own continuation of the image; those along its longer side do not.
_THIN = 6

# What follows is measured by benchmarks/noise.py; docs/photographs.md has the numbers.
VISIBLE = 3.0
_BLOCK = 64  # pixels
_SCALES = 3
_QUIETEST = 10  # one block in so many
_WHITE = 1.5  # of white noise the second scale's sigma is that of the finest; of texture it is larger
# A block with more pixels at the ends of the range shows less noise than it has; with fewer, some that is not Gaussian.
_CLIPPED, _TOUCHED = 0.1, 0.02
_LOOKED_AT = 0.25  # of fewer other blocks nothing is told, and all count: drawings on white are such
# Luma, then chroma, each of the same sigma as the channels where their noise is white.
_OPPONENTS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

_LARGEST_MAP = 16  # rows and columns
_FLAT = 1.4  # a map whose largest sigma is not so many times its smallest
_SEVERAL = 2.5  # beyond this a map holds several noises: blocks that cross from one to the other are not smoothed
_REACH = 1.5  # of a block's weight in the map, in parts of the map
_LEAST_BLOCKS = 6

# (sigma of the second scale from, it over the finest's from, the third's over it to, standard deviation over sigma to).
_SMOOTHED_LUMA = (4.0, 1.75, 2.4, 1.2)
_SMOOTHED_CHROMA = (2.5, 1.5, 5.5, 1.25)  # where photographs have next to no texture
_GRAY_NOISE = 6.0, 0.25  # luma's sigma from, the chroma's over it to


@dataclass(frozen=True, eq=False)
class Noise:
    """What a photograph's blocks tell of its noise.

    Attributes:
        visible: its sigma, on the 0-255 scale, in the quietest tenth, where there is little else; 0 where that holds
            texture, or the photograph is too small to tell.
        sigmas: (rows, columns) float32 of equal parts of the photograph, smooth; None where it is the same all over, or
            cannot be told.
        smoothed: whether a camera or a codec has smoothed it, so that every estimate is too low.
    """

    visible: float = 0.0
    sigmas: np.ndarray | None = None
    smoothed: bool = False


def estimate_noise(pixels: np.ndarray) -> float:
    """Estimate the standard deviation of a photograph's Gaussian noise from its finest wavelet coefficients.

    Fine texture counts as noise, and noise that a camera or a codec has smoothed is underestimated. Blown-out skies and
    black bars do not count, unless there is little else.

    Args:
        pixels: (H, W, C) uint8 or uint16.

    Returns:
        The mean of the channels' sigmas, on the 0-255 scale.
    """
    from skimage.restoration import estimate_sigma  # here, as it takes most of a second

    height, width, channels = pixels.shape
    if min(height, width) < _THIN:
        pixels = (pixels if height <= width else pixels.swapaxes(0, 1)).reshape(-1, channels)  # one long row
    elif min(height, width) >= _BLOCK:
        pixels = _unclipped(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an image with a single colour there is no coefficient
        sigmas = [estimate_sigma(_on_255(channel)) for channel in np.moveaxis(pixels, -1, 0)]
    return float(np.mean(np.nan_to_num(sigmas)))


def measure_noise(pixels: np.ndarray) -> Noise:
    """Look at a photograph's blocks of 64x64 pixels, a row of them at a time.

    Args:
        pixels: (H, W, C) uint8 or uint16.
    """
    if min(pixels.shape[:2]) < _BLOCK:
        return Noise()
    sigmas, deviations, clipped = _statistics(pixels)
    overall = np.sqrt((sigmas**2).mean(axis=2))  # the channels', whether their noise is coloured or gray
    usable = clipped < _CLIPPED
    sigma_map = _map(overall, usable, pixels.shape[:2])
    is_one_noise = sigma_map is None or sigma_map.max() < _SEVERAL * sigma_map.min()
    smoothed = is_one_noise and _is_smoothed(sigmas, deviations, clipped < _TOUCHED)
    return Noise(_visible(overall[_looked_at(usable)]), sigma_map, smoothed)


def _on_255(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels, np.float32) * np.float32(255 / np.iinfo(pixels.dtype).max)


def _looked_at(usable: np.ndarray) -> np.ndarray:
    return usable if usable.mean() >= _LOOKED_AT else np.ones_like(usable)


def _unclipped(pixels: np.ndarray) -> np.ndarray:
    """Return a photograph, or the blocks of it that are looked at in a row, if those are not all."""
    rows, columns = (size // _BLOCK for size in pixels.shape[:2])
    bands = [pixels[row * _BLOCK : (row + 1) * _BLOCK, : columns * _BLOCK] for row in range(rows)]
    kept = _looked_at(np.array([_clipped(band) for band in bands]) < _CLIPPED)
    if kept.all():
        return pixels
    blocks = [band.reshape(_BLOCK, columns, _BLOCK, -1)[:, row] for band, row in zip(bands, kept, strict=True)]
    return np.concatenate([each.reshape(_BLOCK, -1, pixels.shape[2]) for each in blocks], axis=1)


def _clipped(band: np.ndarray) -> np.ndarray:
    """Return how much of each block of a row of them is at an end of the range."""
    at_an_end = (band == 0) | (band == np.iinfo(band.dtype).max)
    return np.asarray(at_an_end.reshape(_BLOCK, -1, _BLOCK, band.shape[2]).mean(axis=(0, 2, 3)))


def _statistics(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each block (the sigma of its wavelet coefficients, their standard deviation, how much is clipped).

    The first two are (rows, columns, C, scales), of luma and chroma where there are three channels; the last is (rows,
    columns).
    """
    import pywt  # here, as it takes a moment

    rows, columns = (size // _BLOCK for size in pixels.shape[:2])
    channels = pixels.shape[2]
    sigmas = np.empty((rows, columns, channels, _SCALES), np.float32)
    deviations, clipped = np.empty_like(sigmas), np.empty((rows, columns), np.float32)
    for row in range(rows):
        band = pixels[row * _BLOCK : (row + 1) * _BLOCK, : columns * _BLOCK]
        clipped[row] = _clipped(band)
        planes = _on_255(band) @ _OPPONENTS.T.astype(np.float32) if channels == 3 else _on_255(band)
        for channel, smooth in enumerate(np.moveaxis(planes, -1, 0)):
            for scale in range(_SCALES):
                smooth, (_, _, diagonal) = pywt.dwt2(smooth, "db2", mode="periodization")
                blocks = np.abs(diagonal).reshape(len(diagonal), columns, -1)
                sigmas[row, :, channel, scale] = np.median(blocks, axis=(0, 2)) / 0.6745
                deviations[row, :, channel, scale] = np.sqrt((blocks**2).mean(axis=(0, 2)))
    return sigmas, deviations, clipped


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a / np.maximum(b, 1e-6))


def _visible(sigmas: np.ndarray) -> float:
    finest, second, _ = sigmas.reshape(-1, _SCALES).T
    quiet = np.argsort(finest)[: max(1, len(finest) // _QUIETEST)]
    return float(finest[quiet[-1]]) if np.median(_ratio(second, finest)[quiet]) < _WHITE else 0.0


def _is_smoothed(sigmas: np.ndarray, deviations: np.ndarray, usable: np.ndarray) -> bool:
    """Return whether the quiet blocks hold what is Gaussian, as noise is, but not white."""
    if usable.sum() < _LEAST_BLOCKS:
        return False
    finest_of = []
    for channel, kind in enumerate([_SMOOTHED_LUMA, *[_SMOOTHED_CHROMA] * (sigmas.shape[2] - 1)]):
        least, redder, reddest, most_peaked = kind
        blocks, spread = sigmas[usable][:, channel], deviations[usable][:, channel]
        quiet = np.argsort(blocks[:, 1])[: max(4, len(blocks) // _QUIETEST)]
        finest, second, third = np.median(blocks[quiet], axis=0)
        is_gaussian = np.median(_ratio(spread, blocks)[quiet, 1]) < most_peaked
        if is_gaussian and second >= max(least, redder * finest) and third < reddest * second:
            return True
        finest_of.append(finest if is_gaussian or channel else 0)
    luma, *chroma = finest_of
    least, share = _GRAY_NOISE
    return bool(chroma) and bool(luma >= least and 1e-3 < max(chroma) < share * luma)


def _map(sigmas: np.ndarray, usable: np.ndarray, size: tuple[int, ...]) -> np.ndarray | None:
    """Fit a plane around each part of the photograph to the logarithms of the white blocks' sigmas."""
    finest, second, _ = np.moveaxis(sigmas, -1, 0)
    white = usable & (finest > 0) & (second < _WHITE * finest)
    if white.sum() < _LEAST_BLOCKS:
        return None
    blocks = (np.argwhere(white) + 0.5) * _BLOCK
    shape = [min(count, _LARGEST_MAP) for count in white.shape]
    parts = [(np.arange(count) + 0.5) * side / count for count, side in zip(shape, size, strict=True)]
    reach = [_REACH * side / count for count, side in zip(shape, size, strict=True)]
    fitted = np.exp([_planes(blocks, np.log(finest[white]), y, parts[1], reach) for y in parts[0]])
    return fitted.astype(np.float32) if fitted.max() > _FLAT * fitted.min() else None


def _planes(places: np.ndarray, values: np.ndarray, y: float, columns: np.ndarray, reach: list[float]) -> np.ndarray:
    """Return what planes around (y, each of columns) are there, fitted to values that texture has raised in places."""
    dy = np.broadcast_to((places[:, 0] - y) / reach[0], (len(columns), len(places)))
    dx = (places[:, 1] - columns[:, None]) / reach[1]
    squared = dy**2 + dx**2
    near = np.exp(-squared / 2) + 1e-3 / (1 + squared)  # something, however far
    terms, weights = np.stack([np.ones_like(dx), dy, dx], axis=2), near
    ridge = np.minimum(1, near.sum(axis=1))[:, None, None] * np.diag([1e-9, 0.3, 0.3])
    for _ in range(6):  # iteratively reweighted least squares
        weighted = (terms * weights[..., None]).swapaxes(1, 2)
        plane = np.linalg.solve(weighted @ terms + ridge, weighted @ values[:, None])
        above = np.maximum(values - (terms @ plane)[..., 0], 0)
        weights = near / (1 + (above / 0.08) ** 2)
    return plane[:, 0, 0]
