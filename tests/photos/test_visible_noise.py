"""rnan_tf.photos.visible_noise tells noise from texture on real photographs."""

import numpy as np
import pytest

from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import NAMES, sample_photographs
from rnan_tf.photos.visible_noise import VISIBLE, visible_noise

TEXTURES = ("grass.png", "gravel.png", "brick.png", "text.png")


def noisy(pixels, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", [*NAMES, *TEXTURES])
def test_photographs_as_they_are_show_none(name):
    pixels = read_photo(sample_photographs(name)[0]).pixels
    assert visible_noise(pixels) < VISIBLE


@pytest.mark.parametrize("sigma", [10, 25])
@pytest.mark.parametrize("name", NAMES)
def test_noise_is_seen_and_measured(name, sigma):
    pixels = read_photo(sample_photographs(name)[0]).pixels
    found = visible_noise(noisy(pixels, sigma))
    assert found >= VISIBLE and 0.5 * sigma < found < 1.3 * sigma


def test_16_bits_and_one_channel():
    pixels = noisy(read_photo(sample_photographs("chelsea.png")[0]).pixels, 10)
    assert visible_noise(pixels.astype(np.uint16) * 257) == pytest.approx(visible_noise(pixels), rel=1e-3)
    assert visible_noise(pixels[..., :1]) >= VISIBLE


@pytest.mark.parametrize("shape", [(1, 1, 3), (63, 400, 3), (400, 63, 1)])
def test_too_small_to_tell(shape):
    assert visible_noise(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) == 0


@pytest.mark.parametrize("shape", [(64, 64, 3), (65, 129, 1), (191, 70, 3)])
def test_white_noise_of_any_size(shape):
    pixels = np.random.default_rng(0).normal(128, 20, shape).round().clip(0, 255).astype(np.uint8)
    assert 15 < visible_noise(pixels) < 25
    assert visible_noise(np.full(shape, 7, np.uint8)) < 1e-6
