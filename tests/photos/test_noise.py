"""rnan_tf.photos.noise on noise that was added to photographs."""

import numpy as np
import pytest
import skimage.data

from rnan_tf.photos.noise import estimate_noise


def noisy(pixels, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 200])
@pytest.mark.parametrize("sigma", [10, 25])
def test_thin_photographs_are_as_noisy_as_wide_ones(side, sigma):
    strip = noisy(skimage.data.astronaut()[300 : 300 + side], sigma)
    assert estimate_noise(strip) == pytest.approx(sigma, rel=0.25)
    assert estimate_noise(strip.swapaxes(0, 1)) == pytest.approx(estimate_noise(strip), rel=0.1)
    assert estimate_noise(strip[..., :1]) == pytest.approx(sigma, rel=0.3)
    assert estimate_noise(strip.astype(np.uint16) * 257) == pytest.approx(estimate_noise(strip), rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (3, 3), (50, 50)])
def test_a_single_colour_has_no_noise(shape):
    assert estimate_noise(np.full((*shape, 3), 77, np.uint8)) < 1e-3  # float32
