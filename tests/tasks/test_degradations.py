"""tasks.degradations against Pillow's codec and resampling, exact rational arithmetic and the reference's files.

Every operation is checked eagerly and again inside tf.data.
"""

import io
from fractions import Fraction

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image
from scipy import stats

from rnan_tf.photos.pixels import CFA_PATTERNS, rgb_to_gray_8bit
from rnan_tf.tasks import degradations
from rnan_tf.tasks.task import SUBSAMPLINGS

RGB = skimage.data.astronaut()
GRAY = skimage.data.camera()[..., None]
ODD_GRAY = skimage.data.chelsea()[:123, 100:257, 1:2]  # 123 x 157


def to_pixels(image):
    """The pixels of a degraded image, which must be uint8."""
    assert image.dtype == tf.uint8
    return image.numpy()


def in_dataset(degrade, pixels):
    """What `degrade` gives inside tf.data."""
    dataset = tf.data.Dataset.from_tensors(pixels).map(degrade, num_parallel_calls=tf.data.AUTOTUNE)
    return to_pixels(next(iter(dataset)))


def read_png(path):
    pixels = np.asarray(Image.open(path))
    return pixels.reshape(*pixels.shape[:2], -1)


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


# === Bicubic ===


def cubic(x):
    """Keys' kernel, a = -1/2, for a Fraction."""
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x < 2 else Fraction(0)


def exact_imresize(pixels, factor):
    """MATLAB's documented algorithm in rational arithmetic: no rounding but the two to 8 bit."""
    stretch = max(1 / factor, 1)
    result = pixels.astype(np.int64)
    for axis in (0, 1):
        size = result.shape[axis]
        rows = []
        for i in range(-int(-size * factor // 1)):  # rounded up
            center = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
            support = range(int(center - 2 * stretch) - 1, int(center + 2 * stretch) + 2)
            weights = {j: cubic((center - j) / stretch) for j in support}
            total, row = sum(weights.values()), [Fraction(0)] * size
            for j, weight in weights.items():
                row[min(max(j, 0), size - 1)] += weight / total
            rows.append(row)
        common = np.lcm.reduce([weight.denominator for row in rows for weight in row])
        matrix = np.array([[int(weight * common) for weight in row] for row in rows])
        sums = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
        result = np.clip((2 * sums + common) // (2 * common), 0, 255)  # half up
    return result.astype(np.uint8)


BICUBIC_CASES = [
    ("down", 2, RGB[:96, :72]),
    ("down", 3, RGB[200:296, 100:172]),
    ("down", 4, RGB[:96, :72]),
    ("down", 2, GRAY[150:181, 200:225]),  # odd: the result's size is rounded up
    ("down", 3, GRAY[150:181, 200:225]),
    ("down", 4, GRAY[150:153, 200:201]),  # smaller than the kernel
    ("up", 2, RGB[:24, :31]),
    ("up", 3, RGB[100:121, :30]),
    ("up", 4, RGB[:19, 60:80]),
]


@pytest.mark.parametrize(("direction", "scale", "pixels"), BICUBIC_CASES)
def test_imresize_is_exact(direction, scale, pixels):
    expected = exact_imresize(pixels, Fraction(scale) if direction == "up" else Fraction(1, scale))
    result = to_pixels(degradations.imresize(pixels, **{direction: scale}))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_is_exact_in_a_dataset_too(scale):
    pixels = np.tile(np.random.default_rng(scale).choice([0, 255], (24, 36, 1)), 3).astype(np.uint8)  # overshoots
    expected = exact_imresize(pixels, Fraction(1, scale))
    np.testing.assert_array_equal(to_pixels(degradations.downscale(pixels, scale=scale)), expected)
    np.testing.assert_array_equal(in_dataset(lambda x: degradations.downscale(x, scale=scale), pixels), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_imresize_is_pillows_bicubic_but_for_rounding_and_borders(direction, scale):
    pixels = (skimage.data.camera()[:120, 200:320] // 2 + 64).astype(np.uint8)  # no overshoot to clip
    size = 120 * scale if direction == "up" else 120 // scale
    expected = Image.fromarray(pixels.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    result = to_pixels(degradations.imresize(pixels[..., None], **{direction: scale}))
    margin = 3 * scale if direction == "up" else 3
    difference = (result[..., 0] - np.asarray(expected))[margin:-margin, margin:-margin]
    # Half a level for each rounding, the first one amplified by at most the kernel's sum of absolute weights, 1.25.
    assert np.abs(difference).max() <= 0.5 + 0.5 * 1.25


def test_downscale_of_small_vectors_known_by_hand():
    # x2: the weights of eight pixels are (-3 -9 29 111 111 29 -9 -3) / 256; a step of 255 between two output pixels.
    step = np.zeros((16, 2, 1), np.uint8)
    step[8:] = 255
    result = to_pixels(degradations.downscale(step, scale=2))
    # Behind the step lie taps worth -3-9+29 = 17 of 256 for the pixel above it, -3 for the next, none for others.
    undershoot_clipped, above = 0, round(255 * 17 / 256)
    column = [0, 0, undershoot_clipped, above, 255 - above, 255, 255, 255]
    np.testing.assert_array_equal(result[:, 0, 0], column)


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_constant_image_stays_constant(scale, value):
    image = np.full((24, 36, 3), value, np.uint8)
    small = to_pixels(degradations.downscale(image, scale=scale))
    assert small.shape == (24 // scale, 36 // scale, 3)
    assert (small == value).all()
    large = to_pixels(degradations.imresize(image, up=scale))
    assert large.shape == (24 * scale, 36 * scale, 3)
    assert (large == value).all()


@pytest.mark.parametrize(("size", "scale"), [((25, 24), 2), ((24, 25), 3), ((26, 24), 4)])
def test_downscale_refuses_other_than_multiples(size, scale):
    with pytest.raises(ValueError, match=rf"multiples of the scale {scale}. Received: \({size[0]}, {size[1]}, 3\)"):
        degradations.downscale(RGB[: size[0], : size[1]], scale=scale)


def test_imresize_goes_one_way_only():
    with pytest.raises(ValueError, match="Received: up=3, down=2"):
        degradations.imresize(RGB, up=3, down=2)
    np.testing.assert_array_equal(to_pixels(degradations.imresize(RGB)), RGB)


@pytest.mark.parametrize("name", ["bird", "butterfly"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_is_the_references(data_folder, scale, name):
    clean, expected = (
        read_png(data_folder / "reference_pairs" / f"sr_x{scale}_{name}_{kind}.png") for kind in ("hr", "lr")
    )
    np.testing.assert_array_equal(to_pixels(degradations.downscale(clean, scale=scale)), expected)


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
