"""rnan_tf.restoring.adapters: what networks see of photographs, and what becomes of the rest."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.restoring.adapters import restore_photo
from rnan_tf.restoring.tiling import Tiling, self_ensemble
from rnan_tf.tasks.task import TASKS

SMALL_TILES = Tiling(16, 8)


def random_photo(height=37, width=46, channels=3, dtype=np.uint8, alpha=False, seed=0):
    top = np.iinfo(dtype).max
    values = np.random.default_rng(seed).integers(0, top, (height, width, channels + 1), dtype=dtype, endpoint=True)
    return Photo(values[..., :channels], values[..., channels] if alpha else None, b"a profile", "PNG")


def identity(batch):
    return batch


def nearest(scale):
    return lambda batch: batch.repeat(scale, axis=1).repeat(scale, axis=2)


def bayer(image, pattern):
    """Sample an RGB image by a pattern: (single channel, RGB with zeros)."""
    zeros = np.zeros_like(image)
    for i, color in enumerate(pattern):
        where = np.s_[i // 2 :: 2, i % 2 :: 2, "RGB".index(color)]
        zeros[where] = image[where]
    return zeros.sum(axis=2, keepdims=True, dtype=image.dtype), zeros


def bilinear_demosaic(batch):
    """Refuse all that is not a GRBG mosaic, fill in the others."""
    for i, color in enumerate("GRBG"):
        for channel in set(range(3)) - {"RGB".index(color)}:
            assert not batch[:, i // 2 :: 2, i % 2 :: 2, channel].any(), "not a GRBG mosaic"
    red_blue = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])[None] / 4
    green = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]])[None] / 4
    planes = [
        ndimage.convolve(batch[..., i], kernel, mode="mirror") for i, kernel in enumerate((red_blue, green, red_blue))
    ]
    return np.stack(planes, axis=-1)


def ramp(height, width, dtype):
    """Colours that change linearly, so that bilinear interpolation of their mosaic gives them back."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([2 * y + x, 20 + y + 2 * x, 60 + y + x], axis=-1)
    return (image * (np.iinfo(dtype).max // 255)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("task", ["denoise", "denoise-gray", "jpeg"])
def test_networks_see_their_channels_and_all_else_is_kept(task, channels, alpha, dtype):
    photo = random_photo(channels=channels, dtype=dtype, alpha=alpha)

    def predict(batch):
        assert batch.dtype == np.float32 and batch.shape[3] == TASKS[task].channels
        assert batch.min() >= 0 and batch.max() <= 1
        return batch

    restored = restore_photo(photo, TASKS[task], predict, tiling=SMALL_TILES)
    assert restored.pixels.dtype == dtype
    np.testing.assert_array_equal(restored.pixels, photo.pixels)
    assert restored.alpha is photo.alpha
    assert restored.icc_profile == b"a profile" and restored.format == "PNG"


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 5), (333, 501)])
@pytest.mark.parametrize("task", TASKS)
def test_any_size(task, size):
    scale = TASKS[task].scale
    photo = random_photo(*size, channels=1)
    restored = restore_photo(photo, TASKS[task], nearest(scale))
    assert restored.pixels.shape == (scale * size[0], scale * size[1], 3 if task == "demosaic" else 1)


def test_gray_through_an_rgb_network_is_the_mean_of_its_colours():
    photo = random_photo(channels=1, dtype=np.uint16)

    def predict(batch):
        np.testing.assert_array_equal(batch, batch[..., :1].repeat(3, axis=3))
        return batch + np.array([0.0, 0.01, 0.02])

    restored = restore_photo(photo, TASKS["denoise"], predict).pixels
    expected = np.minimum(photo.pixels + 0.01 * 65535, 65535)
    np.testing.assert_allclose(restored, expected, atol=1)


def test_colours_through_a_gray_network_stay_apart():
    photo = random_photo()
    seen = []
    restore_photo(photo, TASKS["denoise-gray"], lambda batch: seen.append(batch) or batch)
    for i, batch in enumerate(seen):
        np.testing.assert_array_equal(np.rint(batch[0, :37, :46, 0] * 255), photo.pixels[..., i])
    assert len(seen) == 3


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("alpha_value", [0, 137, 255])
def test_enlarging_with_alpha(alpha_value, scale):
    photo = random_photo(alpha=True)
    photo.alpha[:] = alpha_value
    restored = restore_photo(photo, TASKS[f"sr-x{scale}"], nearest(scale), SMALL_TILES)
    np.testing.assert_array_equal(restored.pixels, photo.pixels.repeat(scale, 0).repeat(scale, 1))
    assert restored.alpha.shape == (37 * scale, 46 * scale) and restored.alpha.dtype == np.uint8
    assert np.all(restored.alpha == alpha_value)


class TestColourJpeg:
    def test_the_network_sees_the_luma_of_the_codec(self):
        pixels = np.kron(random_photo(8, 8).pixels // 3 + 80, np.ones((8, 8, 1), np.uint8))
        file, seen = io.BytesIO(), []
        Image.fromarray(pixels).save(file, "JPEG", quality=30)
        with Image.open(file) as image:
            image.draft("YCbCr", None)
            luma = np.asarray(image)[..., 0]
        photo = Photo(np.asarray(Image.open(file)), None, None, "JPEG")
        restore_photo(photo, TASKS["jpeg"], lambda batch: seen.append(batch) or batch)
        np.testing.assert_allclose(seen[0][0, ..., 0] * 255, luma, atol=0.51)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_only_luma_changes(self, dtype):
        top = np.iinfo(dtype).max
        pixels = (random_photo(dtype=dtype).pixels // 2 + top // 4).astype(dtype)
        restored = restore_photo(Photo(pixels, None, None, "JPEG"), TASKS["jpeg"], lambda batch: batch + 0.1)
        # The same amount on red, green and blue: chroma is what it was.
        np.testing.assert_allclose(restored.pixels.astype(float) - pixels, 0.1 * top, atol=1)


class TestMosaics:
    @pytest.mark.parametrize("ensemble", [False, True])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("size", [(40, 44), (41, 43)])
    @pytest.mark.parametrize("pattern", CFA_PATTERNS)
    def test_every_pattern_is_shown_as_grbg_and_keeps_its_colours(self, pattern, size, dtype, ensemble):
        image = ramp(*size, dtype)
        predict = self_ensemble(bilinear_demosaic, is_mosaic=True) if ensemble else bilinear_demosaic
        single, zeros = bayer(image, pattern)
        results = [
            restore_photo(Photo(pixels, None, None, "PNG"), TASKS["demosaic"], predict, SMALL_TILES, pattern).pixels
            for pixels in (single, zeros)
        ]
        np.testing.assert_array_equal(*results)
        assert results[0].dtype == dtype
        difference = np.abs(results[0].astype(int) - image)
        assert difference[2:-2, 2:-2].max() <= 1  # at the border, reflection bends the ramp
        sampled = zeros > 0
        np.testing.assert_array_equal(results[0][sampled], image[sampled])

    @pytest.mark.parametrize("true, said", [("RGGB", "GRBG"), ("GRBG", "RGGB"), ("BGGR", "RGGB"), ("GBRG", "GRBG")])
    def test_a_wrong_pattern_is_noticed_where_it_can_be(self, true, said):
        photo = Photo(bayer(ramp(20, 20, np.uint8), true)[1], None, None, "PNG")
        with pytest.raises(InputError, match=f"not a {said} mosaic.*the right `cfa`"):
            restore_photo(photo, TASKS["demosaic"], bilinear_demosaic, cfa=said)

    def test_a_photograph_is_no_mosaic(self):
        with pytest.raises(InputError, match="not a GRBG mosaic"):
            restore_photo(random_photo(), TASKS["demosaic"], bilinear_demosaic)

    def test_unknown_pattern(self):
        with pytest.raises(InputError, match="`cfa` must be one of GRBG, RGGB, BGGR, GBRG; got XTRANS"):
            restore_photo(random_photo(channels=1), TASKS["demosaic"], bilinear_demosaic, cfa="XTRANS")


@pytest.mark.parametrize(
    "task, channels, copies", [("jpeg", 3, 1), ("demosaic", 1, 3), ("denoise", 1, 1), ("denoise-gray", 3, 1)]
)
def test_conversions_take_memory_for_tiles_only(task, channels, copies):
    """12 Mpixel: besides the result only tiles, whatever colours and channels the network wants."""
    photo = Photo(np.zeros((3000, 4000, channels), np.uint8), None, None, "PNG")
    tracemalloc.start()
    try:
        restore_photo(photo, TASKS[task], identity, tiling=Tiling(256, 16))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    band = 256 * 4000 * 4 * max(channels, 3)
    assert peak < copies * photo.pixels.nbytes + 5 * band
