"""tasks.degradations against Pillow's codec and resampling, exact rational arithmetic and the reference's files.

Every operation is checked eagerly and again inside tf.data.
"""

import io

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image
from scipy import stats

from rnan_tf.photos.pixels import CFA_PATTERNS, rgb_to_gray_8bit
from rnan_tf.tasks import degradations
from rnan_tf.tasks.task import SUBSAMPLINGS
from tests.helpers.degraded import in_dataset, read_png, to_pixels

RGB = skimage.data.astronaut()
GRAY = skimage.data.camera()[..., None]
ODD_GRAY = skimage.data.chelsea()[:123, 100:257, 1:2]  # 123 x 157


# === Mosaic ===


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 8), (6, 7), (301, 499)])
@pytest.mark.parametrize("pattern", CFA_PATTERNS)
def test_mosaic_keeps_what_the_sensor_samples(pattern, size):
    pixels = np.maximum(RGB[: size[0], : size[1]], 1)  # no zeros, so that a lost sample shows
    expected = np.zeros_like(pixels)
    for place, color in enumerate(pattern):
        y, x, channel = place // 2, place % 2, "RGB".index(color)
        expected[y::2, x::2, channel] = pixels[y::2, x::2, channel]
    result = to_pixels(degradations.mosaic(pixels, pattern=pattern))
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(in_dataset(lambda x: degradations.mosaic(x, pattern=pattern), pixels), expected)


def test_mosaic_is_grbg_by_default():
    pixels = np.arange(1, 28, dtype=np.uint8).reshape(3, 3, 3)
    expected = [
        [[0, 2, 0], [4, 0, 0], [0, 8, 0]],
        [[0, 0, 12], [0, 14, 0], [0, 0, 18]],
        [[0, 20, 0], [22, 0, 0], [0, 26, 0]],
    ]
    np.testing.assert_array_equal(to_pixels(degradations.mosaic(pixels)), expected)


@pytest.mark.parametrize("pattern", ["GGRB", "grbg", ""])
def test_mosaic_refuses_unknown_patterns(pattern):
    with pytest.raises(ValueError, match=f"`pattern` must be one of GRBG, .*Received: '{pattern}'"):
        degradations.mosaic(RGB, pattern=pattern)


def test_mosaic_is_the_references(data_folder):
    clean, expected = (read_png(data_folder / "reference_pairs" / f"demosaic_{kind}.png") for kind in ("hq", "lq"))
    np.testing.assert_array_equal(to_pixels(degradations.mosaic(clean)), expected)


# === Noise ===


def test_noise_is_rounded_to_the_nearest_and_clipped():
    noisy = to_pixels(degradations.add_noise(RGB, (3, 4), 40)).astype(int)
    exact = RGB + 40.0 * tf.random.stateless_normal(RGB.shape, (3, 4), alg="philox").numpy()
    assert exact.min() < -0.5
    assert exact.max() > 255.5
    assert np.abs(noisy - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-4  # 1e-4: float32


@pytest.mark.parametrize("sigma", [10, 30, 50, 70])
def test_noise_is_gaussian_rounded_and_clipped(sigma):
    pixels = np.full((512, 512, 3), 128, np.uint8)
    noisy = to_pixels(degradations.add_noise(pixels, (3, 4), sigma))
    # The distribution function of rounded, clipped normal values; 0.0025 is the 1e-4 quantile of Kolmogorov's test.
    levels = np.arange(255)
    expected = stats.norm.cdf(levels + 0.5, loc=128, scale=sigma)
    measured = np.cumsum(np.bincount(noisy.ravel(), minlength=256))[:255] / noisy.size
    assert np.abs(measured - expected).max() < 0.0025
    # Without the clipped ends, the normal quantiles of two levels give sigma back.
    low, high = 128 - sigma, 128 + sigma
    sigma_measured = (high - low) / np.diff(stats.norm.ppf(measured[[low, high]])).item()
    assert sigma_measured == pytest.approx(sigma, rel=0.01)


def test_noise_is_white():
    noisy = to_pixels(degradations.add_noise(np.full((256, 256, 3), 128, np.uint8), (0, 0), 20)) - 128.0
    for other in (noisy[1:, :-1], noisy[:-1, 1:], noisy[:-1, :-1, [1, 2, 0]]):
        correlation = np.corrcoef(noisy[:-1, :-1].ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(other.size)  # four standard errors


@pytest.mark.parametrize("value", [0, 255])
def test_noise_is_clipped_at_black_and_white(value):
    pixels = np.full((128, 128, 1), value, np.uint8)
    noisy = to_pixels(degradations.add_noise(pixels, (1, 2), 70))
    share = np.mean(noisy == value)
    assert share == pytest.approx(0.5, abs=0.015)  # half of the noise points outward
    assert np.ptp(noisy) > 200


@pytest.mark.parametrize("sigma", [0, 0.0, tf.constant(0.0), tf.constant(0)])
def test_noise_of_sigma_zero_is_the_identity(sigma):
    np.testing.assert_array_equal(to_pixels(degradations.add_noise(RGB, (1, 2), sigma)), RGB)


def noise_patches(dataset):
    return {int(number): to_pixels(image).tobytes() for number, image in dataset}


@pytest.fixture(scope="module")
def eager_noise():
    image = RGB[:40, :56]
    return {n: to_pixels(degradations.add_noise(image, (7, n), 50)).tobytes() for n in range(12)}


@pytest.mark.parametrize("num_parallel_calls", [None, 1, 6, tf.data.AUTOTUNE])
@pytest.mark.parametrize("shuffled", [False, True])
def test_noise_does_not_depend_on_order_or_parallelism(eager_noise, num_parallel_calls, shuffled):
    def degrade(number):
        return number, degradations.add_noise(RGB[:40, :56], (7, number), 50)

    numbers = np.random.default_rng(0).permutation(12) if shuffled else np.arange(12)
    dataset = tf.data.Dataset.from_tensor_slices(numbers.astype(np.int32))
    dataset = dataset.map(
        degrade, num_parallel_calls=num_parallel_calls, deterministic=not shuffled if num_parallel_calls else None
    )
    assert noise_patches(dataset) == eager_noise


def test_noise_is_the_same_in_a_tf_function_and_for_64_bit_seeds(eager_noise):
    degrade = tf.function(degradations.add_noise)
    image = RGB[:40, :56]
    for number, expected in eager_noise.items():
        seed = tf.constant([7, number], tf.int64)
        assert to_pixels(degradations.add_noise(image, seed, 50)).tobytes() == expected
        assert to_pixels(degrade(image, seed, tf.constant(50.0))).tobytes() == expected


def test_noise_differs_between_seeds(eager_noise):
    image = RGB[:40, :56]
    other = [to_pixels(degradations.add_noise(image, (8, n), 50)).tobytes() for n in range(12)]
    assert len({*eager_noise.values(), *other}) == 24


# === JPEG ===


def pillow_jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))[..., None]


@pytest.mark.parametrize("quality", [1, 5, 10, 40, 75, 95, 100])
@pytest.mark.parametrize("pixels", [GRAY, ODD_GRAY], ids=["512x512", "odd size"])
def test_jpeg_is_pillows(pixels, quality):
    expected = pillow_jpeg(pixels, quality)
    np.testing.assert_array_equal(to_pixels(degradations.compress_jpeg(pixels, None, quality)), expected)


def test_jpeg_takes_a_quality_for_each_image_in_a_dataset():
    qualities = [5, 100, 10.0, 37, 1]
    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(qualities)).map(
        lambda quality: degradations.compress_jpeg(ODD_GRAY, None, quality),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    assert dataset.element_spec.shape == ODD_GRAY.shape
    for quality, image in zip(qualities, dataset, strict=True):
        np.testing.assert_array_equal(to_pixels(image), pillow_jpeg(ODD_GRAY, int(quality)))


@pytest.mark.parametrize("name", ["baboon", "lena"])
def test_jpeg_is_the_references(data_folder, name):
    clean, expected = (read_png(data_folder / "reference_pairs" / f"jpeg10_{name}_{kind}.png") for kind in ("hq", "lq"))
    np.testing.assert_array_equal(to_pixels(degradations.compress_jpeg(clean, None, 10)), expected)


# === Gray ===


def test_gray_is_the_references(data_folder):
    expected = read_png(data_folder / "reference_pairs" / "gray_kodim01_hq.png")
    pixels = read_png(data_folder / "test" / "Kodak24" / "kodim01.png")
    np.testing.assert_array_equal(rgb_to_gray_8bit(pixels), expected)


# === Colour JPEG ===

ODD_RGB = skimage.data.coffee()[40:163, 100:257]  # 123 x 157


def pillow_color_jpeg(pixels, quality, subsampling):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 5, 10, 37, 75, 95, 100])
@pytest.mark.parametrize(
    "pixels", [RGB, ODD_RGB, ODD_RGB[:1, :1], ODD_RGB[:7, :17]], ids=lambda x: "x".join(map(str, x.shape))
)
def test_color_jpeg_is_pillows(pixels, quality, subsampling):
    expected = pillow_color_jpeg(pixels, quality, subsampling)

    def degrade(image, quality):
        return degradations.compress_color_jpeg(image, (1, 2), quality, (subsampling,))

    np.testing.assert_array_equal(to_pixels(degrade(pixels, quality)), expected)
    # A quality that the graph knows, and ones that it does not.
    np.testing.assert_array_equal(in_dataset(lambda x: degrade(x, quality), pixels), expected)
    for dtype in (tf.int32, tf.float32):
        qualities = tf.data.Dataset.from_tensors((pixels, tf.cast(quality, dtype)))
        np.testing.assert_array_equal(to_pixels(next(iter(qualities.map(degrade)))), expected)


def test_subsamplings_are_not_alike():
    results = [pillow_color_jpeg(ODD_RGB, 50, subsampling) for subsampling in SUBSAMPLINGS]
    assert len({result.tobytes() for result in results}) == 3


@pytest.mark.parametrize("among", [("4:2:0", "4:4:4"), ("4:4:4", "4:2:0"), SUBSAMPLINGS])
def test_the_seed_draws_the_subsampling(among):
    pixels = ODD_RGB[:24, :24]
    known = {pillow_color_jpeg(pixels, 30, name).tobytes(): name for name in among}
    seeds = tf.data.Dataset.range(300).map(lambda number: (tf.constant(7, tf.int64), number))

    def degrade(*seed):
        return degradations.compress_color_jpeg(pixels, seed, 30, among)

    def drawn(dataset):
        return [known[to_pixels(image).tobytes()] for image in dataset.map(degrade, num_parallel_calls=2)]

    names = drawn(seeds)
    assert drawn(seeds.skip(100).take(50)) == names[100:150]
    assert known[to_pixels(degrade(7, 123)).tobytes()] == names[123]
    for name in among:  # four standard errors
        share = 1 / len(among)
        assert names.count(name) / 300 == pytest.approx(share, abs=4 * (share * (1 - share) / 300) ** 0.5)
