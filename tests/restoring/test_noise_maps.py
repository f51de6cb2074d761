"""Noise that differs over a photograph, restored by the presets at what they estimate: better than at one sigma."""

import numpy as np
import pytest
import skimage.data

import rnan_tf
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import as_photo
from rnan_tf.tasks.metrics import psnr
from tests.helpers.quick import quick

SIDE = 320
CLEAN = {
    "astronaut": skimage.data.astronaut()[:SIDE, 100 : 100 + SIDE],
    "motorcycle": skimage.data.stereo_motorcycle()[0][:SIDE, 200 : 200 + SIDE],
    "camera": skimage.data.camera()[:SIDE, 100 : 100 + SIDE],
}
RESTORERS = {3: "denoise", 2: "denoise-gray"}


def noisy(clean, sigma):
    noise = np.random.default_rng(0).standard_normal(clean.shape) * sigma[(..., None)[: clean.ndim - 1]]
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def restorers():
    return {ndim: rnan_tf.Restorer.from_preset(name, fast=True) for ndim, name in RESTORERS.items()}


@pytest.mark.parametrize("name", quick(["camera", "astronaut"], CLEAN))
def test_a_gradient_is_restored_better_than_at_one_sigma(restorers, name):
    clean = CLEAN[name]
    across = np.broadcast_to(np.linspace(5, 45, SIDE), (SIDE, SIDE))
    image, restorer = noisy(clean, across), restorers[clean.ndim]
    ours, one = restorer(image), restorer(image, sigma=estimate_noise(as_photo(image).pixels))
    assert psnr(ours, clean) > psnr(one, clean) + 0.3
    np.testing.assert_array_equal(ours, restorer(image))
    found = restorer.find_strength(as_photo(image))
    np.testing.assert_array_equal(ours, restorer(image, sigma=found.strength))


@pytest.mark.parametrize("name", quick(["camera", "astronaut"], CLEAN))
@pytest.mark.parametrize("sigma", quick([10], [10, 30]))
def test_even_noise_is_restored_as_at_one_sigma(restorers, name, sigma):
    clean = CLEAN[name]
    image, restorer = noisy(clean, np.full((SIDE, SIDE), sigma)), restorers[clean.ndim]
    one = restorer(image, sigma=estimate_noise(as_photo(image).pixels))
    np.testing.assert_array_equal(restorer(image), one)


def test_a_gray_photograph_through_the_colour_network_and_the_reverse(restorers):
    across = np.broadcast_to(np.linspace(5, 45, SIDE), (SIDE, SIDE))
    for name, ndim in (("camera", 3), ("motorcycle", 2)):
        image = noisy(CLEAN[name], across)
        one = restorers[ndim](image, sigma=estimate_noise(as_photo(image).pixels))
        assert psnr(restorers[ndim](image), CLEAN[name]) > psnr(one, CLEAN[name]) + 0.3
