"""PSNR, SSIM and PSNR-B as the field's tables define them."""

import math
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from rnan_tf.tasks.task import Scoring


def score(restored: np.ndarray, clean: np.ndarray, scoring: Scoring) -> dict[str, float]:
    """Measure one restored image.

    Args:
        restored: (H, W, C) uint8.
        clean: (H, W, C) uint8.
        scoring: what to compare and how.

    Returns:
        {"psnr": decibels, "ssim": at most 1}, and {"psnrb": decibels} if `scoring.blocking`.

    Raises:
        ValueError: the shapes differ.
    """
    if restored.shape != clean.shape:
        raise ValueError(f"Images to compare must have one shape. Received: {restored.shape} and {clean.shape}")
    a, b = (x.astype(np.float64) for x in (restored, clean))
    if scoring.luma:
        a, b = luma(a), luma(b)
    if scoring.border:
        inside = slice(scoring.border, -scoring.border)
        a, b = a[inside, inside], b[inside, inside]
    scores = {"psnr": psnr(a, b), "ssim": ssim(a, b, scoring.ssim_window)}
    return scores | ({"psnrb": psnrb(a, b)} if scoring.blocking else {})


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return Y of MATLAB's `rgb2ycbcr`, as the reference's evaluation computes it.

    Args:
        rgb: (H, W, 3), range [0, 255].

    Returns:
        (H, W, 1) float64 in [16, 235].
    """
    return np.asarray((rgb @ np.array([[65.738], [129.057], [25.064]])) / 256.0 + 16.0)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio.

    Args:
        a: any shape, range [0, 255].
        b: the same shape.

    Returns:
        Decibels; infinity for equal images.
    """
    return _decibels(np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2))


def _decibels(error: Any) -> float:
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def psnrb(restored: np.ndarray, clean: np.ndarray) -> float:
    """Return PSNR-B: the PSNR whose squared error is raised by the restored image's blocking effect factor.

    Of RGB images, as in FBCNN's published tables, the error is that of all channels and the factor that of the luma
    alone, rounded to 8 bit.

    Args:
        restored: (H, W, 1 or 3), range [0, 255], its blocks beginning at (0, 0).
        clean: the same shape.

    Returns:
        Decibels; infinity for equal images without blocks.

    Reference: Yim and Bovik, "Quality Assessment of Deblocked Images", 2011.
    """
    restored, clean = np.asarray(restored, np.float64), np.asarray(clean, np.float64)
    plane = restored if restored.shape[2] == 1 else np.rint(luma(restored))
    return _decibels(np.mean((restored - clean) ** 2) + blocking_effect(plane[..., 0]))


def blocking_effect(plane: np.ndarray, block: int = 8) -> float:
    """Return Yim and Bovik's blocking effect factor.

    Args:
        plane: (H, W), range [0, 255].
        block: height and width of the codec's blocks.

    Returns:
        How much larger squared steps between neighbours are at the edges of blocks than elsewhere, weighted by the
        blocks' share of the image; 0 if they are not, or if a side has a single block.
    """
    if min(plane.shape) <= block:
        return 0.0
    at_edges = elsewhere = edges = steps = 0.0
    for image in (plane, plane.T):
        squares = (np.diff(image, axis=0) ** 2).sum(axis=1)
        at_edges += squares[block - 1 :: block].sum()
        elsewhere += squares.sum() - squares[block - 1 :: block].sum()
        # The field's count of edges, a fraction where the last block is cut.
        edges += image.shape[1] * (image.shape[0] / block - 1)
        steps += squares.size * image.shape[1]
    excess = at_edges / edges - elsewhere / (steps - edges)
    return float(max(excess, 0.0) * math.log2(block) / math.log2(min(plane.shape)))


def ssim(a: np.ndarray, b: np.ndarray, window: str = "gaussian") -> float:
    """Return the structural similarity, averaged over positions where the window fits and over channels.

    Args:
        a: (H, W, C), range [0, 255], at least as large as the window.
        b: the same shape.
        window: "gaussian" (11x11, sigma 1.5) or "uniform" (8x8).

    Returns:
        The mean similarity; not a number if an image is smaller than the window.

    Reference: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    axes = (0, 1)
    if window == "gaussian":
        smooth = partial(ndimage.gaussian_filter, sigma=1.5, radius=5, axes=axes)
        valid = slice(5, -5)
    else:
        smooth = partial(ndimage.uniform_filter, size=8, axes=axes)
        valid = slice(4, -3)
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b, covariance = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2, smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    inside = similarity[valid, valid]
    return float(inside.mean()) if inside.size else float("nan")
