"""rnan_tf.photos.noise on noise that was added to photographs, and on photographs without."""

import io
import tracemalloc

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage

from rnan_tf.photos.noise import VISIBLE, estimate_noise, measure_noise
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import NAMES, sample_photographs

CLEAN = NAMES[:4]  # a codec has smoothed the fifth
GRAY_BLUR = "camera.png", 0.7  # more passes for texture where there is no colour
TEXTURES = ("grass.png", "gravel.png", "brick.png", "text.png")


def read(name):
    return read_photo(sample_photographs(name)[0]).pixels


def noisy(pixels, sigma, blur=0.0):
    """Add noise of a sigma, one or (H, W), whose standard deviation is the same once it is blurred."""
    noise = np.random.default_rng(0).normal(0, 1, pixels.shape)
    if blur:
        noise = ndimage.gaussian_filter(noise, (blur, blur, 0))
        noise /= noise.std()
    return np.clip(np.rint(pixels + noise * np.reshape(sigma, (*np.shape(sigma), 1))), 0, 255).astype(np.uint8)


def as_jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


class TestOneSigma:
    @pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 200])
    @pytest.mark.parametrize("sigma", [10, 25])
    def test_thin_photographs_are_as_noisy_as_wide_ones(self, side, sigma):
        strip = noisy(skimage.data.astronaut()[300 : 300 + side], sigma)
        assert estimate_noise(strip) == pytest.approx(sigma, rel=0.25)
        assert estimate_noise(strip.swapaxes(0, 1)) == pytest.approx(estimate_noise(strip), rel=0.1)
        assert estimate_noise(strip[..., :1]) == pytest.approx(sigma, rel=0.3)
        assert estimate_noise(strip.astype(np.uint16) * 257) == pytest.approx(estimate_noise(strip), rel=1e-3)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 100), (3, 3), (50, 50)])
    def test_a_single_colour_has_no_noise(self, shape):
        assert estimate_noise(np.full((*shape, 3), 77, np.uint8)) < 1e-3  # float32


class TestVisible:
    @pytest.mark.parametrize("name", [*NAMES, *TEXTURES])
    def test_photographs_as_they_are_show_none(self, name):
        assert measure_noise(read(name)).visible < VISIBLE

    @pytest.mark.parametrize("sigma", [10, 25])
    @pytest.mark.parametrize("name", NAMES)
    def test_noise_is_seen_and_measured(self, name, sigma):
        found = measure_noise(noisy(read(name), sigma)).visible
        assert found >= VISIBLE and 0.5 * sigma < found < 1.3 * sigma

    def test_16_bits_and_one_channel(self):
        pixels = noisy(read("chelsea.png"), 10)
        found = measure_noise(pixels).visible
        assert measure_noise(pixels.astype(np.uint16) * 257).visible == pytest.approx(found, rel=1e-3)
        assert measure_noise(pixels[..., :1]).visible >= VISIBLE

    @pytest.mark.parametrize("shape", [(64, 64, 3), (65, 129, 1), (191, 70, 3)])
    def test_white_noise_of_any_size(self, shape):
        pixels = np.random.default_rng(0).normal(128, 20, shape).round().clip(0, 255).astype(np.uint8)
        assert 15 < measure_noise(pixels).visible < 25
        flat = measure_noise(np.full(shape, 7, np.uint8))
        assert flat.visible < 1e-4 and flat.sigmas is None and not flat.smoothed

    @pytest.mark.parametrize("shape", [(1, 1, 3), (63, 400, 3), (400, 63, 1)])
    def test_too_small_to_tell(self, shape):
        found = measure_noise(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        assert (found.visible, found.sigmas, found.smoothed) == (0, None, False)


class TestClipped:
    """Bars, blown-out skies and transparent parts hide no noise that the rest of a photograph shows."""

    @staticmethod
    def spoilt(name, how):
        pixels = read(name).copy()
        height = len(pixels)
        if how == "a white sky":
            pixels[: height // 4] = 255
        pixels = noisy(pixels, 25)
        if how == "black bars":
            pixels[: height // 6] = pixels[-(height // 6) :] = 0
        if how == "a transparent quarter":
            pixels[: height // 2, : pixels.shape[1] // 2] = 0
        return pixels

    @pytest.mark.parametrize("how", ["a white sky", "black bars", "a transparent quarter"])
    @pytest.mark.parametrize("name", [*NAMES, "camera.png"])
    def test_the_rest_is_looked_at(self, name, how):
        pixels = self.spoilt(name, how)
        assert 0.5 * 25 < measure_noise(pixels).visible < 1.3 * 25
        assert estimate_noise(pixels) == pytest.approx(25, rel=0.2)

    @pytest.mark.parametrize("how", ["black bars", "a transparent quarter"])
    @pytest.mark.parametrize("name", NAMES)
    def test_no_noise_is_seen_where_there_is_none(self, name, how):
        pixels = read(name).copy()
        pixels[self.spoilt(name, how) == 0] = 0
        assert measure_noise(pixels).visible < VISIBLE

    def test_a_drawing_on_white_is_looked_at_whole(self):
        pixels = np.full((512, 512, 3), 255, np.uint8)
        pixels[200:264, 200:264] = noisy(np.full((64, 64, 3), 128), 20)
        assert measure_noise(pixels).visible < VISIBLE


class TestMap:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("name", CLEAN)
    def test_a_gradient(self, name, channels):
        clean = read(name)[..., :channels]
        across = np.broadcast_to(np.linspace(5, 45, clean.shape[1]), clean.shape[:2])
        sigmas = measure_noise(noisy(clean, across)).sigmas
        rows, columns = sigmas.shape
        assert (rows, columns) == (clean.shape[0] // 64, clean.shape[1] // 64)
        truth = 5 + 40 * (np.arange(columns) + 0.5) / columns
        error = np.abs(np.log(sigmas / truth))
        assert error.mean() < 0.15 and error.max() < 0.7  # 15 %; texture hides the weakest
        turned = measure_noise(noisy(clean, across).swapaxes(0, 1)).sigmas
        np.testing.assert_allclose(turned, sigmas.T, rtol=0.1)  # db2 is not symmetric

    @pytest.mark.parametrize("sigma", [10, 25, 50])
    @pytest.mark.parametrize("name", [*CLEAN, "brick.png"])
    def test_the_same_all_over(self, name, sigma):
        assert measure_noise(noisy(read(name), sigma)).sigmas is None

    def test_16_bits_and_again(self):
        clean = read("coffee.png")
        pixels = noisy(clean, np.broadcast_to(np.linspace(40, 5, clean.shape[0])[:, None], clean.shape[:2]))
        found = measure_noise(pixels).sigmas
        np.testing.assert_array_equal(measure_noise(pixels).sigmas, found)
        np.testing.assert_allclose(measure_noise(pixels.astype(np.uint16) * 257).sigmas, found, rtol=1e-3)

    def test_a_large_photograph_has_a_small_map_and_takes_little_memory(self):
        clean = np.tile(read("chelsea.png")[:256, :256], (8, 8, 1))
        pixels = noisy(clean, np.broadcast_to(np.linspace(4, 30, 2048), (2048, 2048)))
        tracemalloc.start()
        try:
            sigmas = measure_noise(pixels).sigmas
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sigmas.shape == (16, 16) and peak < 2 * pixels.nbytes


class TestSmoothed:
    @pytest.mark.parametrize(("name", "blur"), [*((name, blur) for name in CLEAN for blur in (0.7, 1, 1.4)), GRAY_BLUR])
    def test_blurred_noise(self, name, blur):
        assert measure_noise(noisy(read(name), 12, blur)).smoothed

    @pytest.mark.parametrize(("sigma", "quality"), [(12, 60), (12, 90), (25, 75)])
    @pytest.mark.parametrize("name", CLEAN)
    def test_noise_that_jpeg_has_smoothed(self, name, sigma, quality):
        assert measure_noise(as_jpeg(noisy(read(name), sigma), quality)).smoothed

    @pytest.mark.parametrize("sigma", [0, 3, 10, 25, 50])
    @pytest.mark.parametrize("name", [*NAMES, *TEXTURES, "camera.png", "moon.png", "retina.jpg"])
    def test_white_noise_and_clean_photographs(self, name, sigma):
        assert not measure_noise(noisy(read(name), sigma)).smoothed

    @pytest.mark.parametrize(("low", "high"), [(4, 45), (10, 40), (8, 24)])
    @pytest.mark.parametrize("name", CLEAN)
    def test_white_noise_that_grows(self, name, low, high):
        pixels = read(name)
        height, width = pixels.shape[:2]
        for sigma in (np.linspace(low, high, height)[:, None], np.linspace(low, high, width)[None]):
            assert not measure_noise(noisy(pixels, np.broadcast_to(sigma, (height, width)))).smoothed

    @pytest.mark.parametrize("quality", [30, 60, 90])
    @pytest.mark.parametrize("name", CLEAN)
    def test_a_clean_jpeg(self, name, quality):
        assert not measure_noise(as_jpeg(read(name), quality)).smoothed

    def test_a_gray_photograph_as_rgb(self):
        gray = noisy(read("camera.png"), 20)
        one, three = measure_noise(gray), measure_noise(gray.repeat(3, axis=2))
        assert not three.smoothed and three.sigmas is None and three.visible == pytest.approx(one.visible, rel=1e-3)
