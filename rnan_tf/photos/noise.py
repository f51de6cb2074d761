"""How noisy a photograph is."""

import math
import warnings

import numpy as np

# Wavelets across fewer pixels than this see their own continuation of the image; those along its longer side do not.
_THIN = 6


def estimate_noise(pixels: np.ndarray) -> float:
    """Estimate the standard deviation of a photograph's Gaussian noise from its finest wavelet coefficients.

    Fine texture counts as noise, and noise that a camera or a codec has smoothed is underestimated.

    Args:
        pixels: (H, W, C) uint8 or uint16.

    Returns:
        The mean of the channels' sigmas, on the 0-255 scale.

    Reference: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2.
    """
    from skimage.restoration import estimate_sigma  # here, as it takes most of a second

    image = pixels.astype(np.float32) * (255 / np.iinfo(pixels.dtype).max)
    height, width, channels = image.shape
    if min(height, width) < _THIN:
        image = (image if height <= width else image.swapaxes(0, 1)).reshape(-1, channels)  # one long row
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few pixels are taken for a colour image
        sigma = float(estimate_sigma(image, channel_axis=-1, average_sigmas=True))
    return sigma if math.isfinite(sigma) else 0.0  # of an image with a single colour there is no coefficient
