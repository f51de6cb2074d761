"""rnan_tf.restoring.choosing: what a photograph needs, and which preset does it."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.photos import photo as photo_module
from rnan_tf.photos.noise import measure_noise
from rnan_tf.photos.photo import Photo, as_photo, photo_of
from rnan_tf.restoring import choosing
from rnan_tf.restoring.choosing import choose, preset_of
from rnan_tf.tasks.strength import SIGMA

CAT = skimage.data.chelsea()


@pytest.fixture(params=[False, True], ids=["luma", "colour"])
def colour(request, monkeypatch):
    """Whether there is a preset for colour JPEGs."""
    presets = ["denoise", "denoise-gray", "demosaic", "jpeg", *(["jpeg-color"] if request.param else [])]
    monkeypatch.setattr(choosing, "list_presets", lambda: presets)
    return request.param


def jpeg(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", **options)
    return photo_of(file.getvalue(), "a.jpg")


@pytest.mark.parametrize("quality", [10, 75, 89])
def test_a_jpeg(colour, quality):
    choice = choose(jpeg(CAT, quality=quality))
    assert choice.preset == ("jpeg-color" if colour else "jpeg") and "90" in choice.reason
    assert choose(jpeg(CAT[..., 1], quality=quality)).preset == "jpeg"


@pytest.mark.parametrize("quality", [90, 100])
def test_a_good_jpeg_and_other_clean_photographs(quality):
    choice = choose(jpeg(CAT, quality=quality))
    assert choice.preset is None and f"quality {quality}" in choice.reason and "no noise" in choice.reason
    assert choose(as_photo(CAT)).preset is None


def test_noise():
    pixels = np.clip(CAT + np.random.default_rng(0).normal(0, 15, CAT.shape), 0, 255).astype(np.uint8)
    assert choose(as_photo(pixels)).preset == "denoise"
    assert choose(as_photo(pixels[..., :1])).preset == "denoise-gray"
    assert choose(jpeg(pixels, quality=95)).preset == "denoise"
    assert choose(jpeg(pixels, quality=50)).preset == "jpeg-color"


def test_a_jpeg_saved_again_as_png_tells_nothing():
    pixels = jpeg(CAT, quality=10).pixels
    assert choose(Photo(pixels, None, None, "PNG")).preset is None


def test_the_preset_for_jpegs(colour):
    assert preset_of("jpeg") == preset_of("jpeg", as_photo(CAT[..., 0])) == "jpeg"
    assert preset_of("jpeg", as_photo(CAT)) == ("jpeg-color" if colour else "jpeg")
    assert preset_of("denoise", as_photo(CAT)) == "denoise"


def test_the_noise_is_measured_once(monkeypatch):
    calls = []
    monkeypatch.setattr(photo_module, "measure_noise", lambda pixels: calls.append(pixels) or measure_noise(pixels))
    noisy = np.random.default_rng(0).normal(CAT, 20).clip(0, 255).astype(np.uint8)
    photo = as_photo(noisy)
    assert choose(photo).preset == "denoise" and SIGMA.find(photo).strength == pytest.approx(20, rel=0.1)
    assert len(calls) == 1
