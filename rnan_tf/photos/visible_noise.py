"""Whether a photograph shows noise, which must not take fine texture for it."""

import numpy as np

# Measured by benchmarks/visible_noise.py; docs/photographs.md has the numbers.
VISIBLE = 3.0
_WHITE = 1.5
_BLOCK = 64  # pixels
_QUIETEST = 10  # one block in so many


def visible_noise(pixels: np.ndarray) -> float:
    """Measure the noise in the quietest tenth of a photograph, where there is little else.

    White noise has equal wavelet coefficients at the finest two scales; texture has larger ones at the second.

    Args:
        pixels: (H, W, C) uint8 or uint16.

    Returns:
        Its sigma on the 0-255 scale; 0 where the quiet blocks hold texture, or the photograph is too small to tell.

    Reference: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2, for
    the sigma of one block.
    """
    import pywt  # here, as it takes a moment

    if min(pixels.shape[:2]) < _BLOCK:
        return 0.0
    scale = np.float32(255 / np.iinfo(pixels.dtype).max)
    finest, second = [], []
    for channel in np.moveaxis(pixels, -1, 0):
        smooth, (_, _, diagonal) = pywt.dwt2(channel * scale, "db2")
        finest.append(_sigmas(diagonal, _BLOCK // 2, pixels.shape))
        second.append(_sigmas(pywt.dwt2(smooth, "db2")[1][2], _BLOCK // 4, pixels.shape))
    sigmas, ratios = np.mean(finest, axis=0), np.mean(second, axis=0) / np.maximum(np.mean(finest, axis=0), 1e-6)
    quiet = np.argsort(sigmas)[: max(1, len(sigmas) // _QUIETEST)]
    return float(sigmas[quiet[-1]]) if np.median(ratios[quiet]) < _WHITE else 0.0


def _sigmas(coefficients: np.ndarray, block: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sigma of each block of coefficients."""
    rows, columns = (size // _BLOCK for size in shape[:2])
    blocks = np.abs(coefficients[: rows * block, : columns * block]).reshape(rows, block, columns, block)
    return np.asarray(np.median(blocks, axis=(1, 3)).ravel() / 0.6745)
