"""rnan_tf.photos.pixels against Pillow's colour conversion and MATLAB's documented weights."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.errors import InputError, JobError
from rnan_tf.photos import pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_survives_the_float_round_trip(dtype):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    scaled = pixels.to_float(levels)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[-1]) == (0, 1)
    again = pixels.from_float(scaled, dtype)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, levels)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535), ("uint8", 255)])
def test_from_float_clips_and_rounds(dtype, peak):
    values = np.array([-1, -1e9, 0.4 / peak, 0.6 / peak, 1, 1.7, 1e9])
    np.testing.assert_array_equal(pixels.from_float(values, dtype), [0, 0, 0, 1, peak, peak, peak])


def test_16_bits_become_the_nearest_8():
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(pixels.to_8_bits(levels), np.rint(levels / 257))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_picture(value):
    with pytest.raises(JobError, match="not finite"):
        pixels.from_float(np.array([0.5, value]), np.uint8)


def test_numbers_refuse_other_dtypes():
    with pytest.raises(InputError, match="Received: int32"):
        pixels.from_float(np.zeros(2), np.int32)
    with pytest.raises(InputError, match="Received: float32"):
        pixels.to_float(np.zeros(2, np.float32))


@pytest.mark.parametrize("array", [skimage.data.astronaut(), skimage.data.chelsea()], ids=["astronaut", "chelsea"])
def test_ycbcr_agrees_with_pillow(array):
    ycc = pixels.rgb_to_ycbcr(pixels.to_float(array))
    assert ycc.dtype == np.float32
    oracle = np.asarray(Image.fromarray(array).convert("YCbCr")).astype(int)
    assert np.abs(pixels.from_float(ycc, np.uint8) - oracle).max() <= 1
    rgb = pixels.ycbcr_to_rgb(oracle / 255)
    oracle_rgb = np.asarray(Image.fromarray(oracle.astype(np.uint8), "YCbCr").convert("RGB")).astype(int)
    assert np.abs(pixels.from_float(rgb, np.uint8) - oracle_rgb).max() <= 1


def test_ycbcr_round_trip_and_gray_axis():
    rgb = np.random.default_rng(3).random((2, 5, 7, 3), dtype=np.float32)
    np.testing.assert_allclose(pixels.ycbcr_to_rgb(pixels.rgb_to_ycbcr(rgb)), rgb, atol=1e-6)
    gray = pixels.rgb_to_ycbcr(np.full((1, 3), 0.25))
    np.testing.assert_allclose(gray, [[0.25, 128 / 255, 128 / 255]], atol=1e-6)


def test_gray_8bit_is_matlabs():
    array = skimage.data.astronaut()
    gray = pixels.rgb_to_gray_8bit(array)
    # MATLAB's documented weights: the first row of the inverse of the NTSC YIQ matrix.
    yiq_to_rgb = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
    exact = array.astype(np.float64) @ np.linalg.inv(yiq_to_rgb)[0]
    assert gray.shape == (512, 512, 1)
    assert gray.dtype == np.uint8
    assert np.abs(gray[..., 0] - exact).max() <= 0.5 + 1e-6
    with pytest.raises(InputError, match="Received"):
        pixels.rgb_to_gray_8bit(array.astype(np.uint16))
