"""What the tests of rnan_tf.restoring.tiling share."""

import numpy as np
from scipy import ndimage


def photo(height, width, channels=3, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype=dtype, endpoint=True)


def symmetric_blur(batch):
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])[None, :, :, None] / 16
    return ndimage.convolve(batch, kernel, mode="mirror")
