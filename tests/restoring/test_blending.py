"""How much of a restoration is mixed with its photograph."""

import numpy as np
import pytest
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import as_photo
from rnan_tf.restoring.adapters import blended
from rnan_tf.restoring.restorer import Restorer
from tests.helpers.command_line import RGB, to16


@pytest.mark.parametrize("pixels", [RGB, RGB[..., :1], to16(RGB)], ids=["rgb", "gray", "16"])
@pytest.mark.parametrize("blend", [0, 0.25, 0.5, 1])
def test_a_mean_of_both(pixels, blend):
    restored = np.ascontiguousarray(pixels[::-1, ::-1])
    mixed = blended(as_photo(restored), as_photo(pixels), blend).pixels
    expected = blend * restored.astype(float) + (1 - blend) * pixels
    assert mixed.dtype == pixels.dtype and np.abs(mixed - expected).max() <= 0.51


def test_enlarged_photographs_are_mixed_with_their_bicubic_enlargement():
    enlarged = as_photo(np.zeros((62, 74, 3), np.uint8))
    mixed = blended(enlarged, as_photo(RGB), 0).pixels.astype(int)
    oracle = np.asarray(Image.fromarray(RGB).resize((74, 62), Image.Resampling.BICUBIC))
    assert np.abs(mixed - oracle).max() <= 2


@pytest.fixture(scope="module")
def denoise(models):
    return Restorer.from_preset(models / "denoise.keras")


def test_of_a_network(denoise):
    full, half, none = (denoise(RGB, sigma=30, blend=blend) for blend in (1, 0.5, 0))
    np.testing.assert_array_equal(none, RGB)
    np.testing.assert_array_equal(full, denoise(RGB, sigma=30))
    assert np.abs(half - (full.astype(float) + RGB) / 2).max() <= 0.51 and np.any(half != full)


@pytest.mark.parametrize("blend", [-0.1, 1.1, float("nan")])
def test_out_of_range(denoise, blend):
    with pytest.raises(InputError, match="`blend` must be from 0 to 1"):
        denoise(RGB, blend=blend)


def test_no_mosaics(models):
    restorer = Restorer.from_preset(models / "demosaic.keras")
    with pytest.raises(InputError, match="leave `blend` out"):
        restorer(RGB[..., 0], blend=0.5)
