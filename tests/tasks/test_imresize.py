"""Bicubic resizing of tasks.degradations against exact rational arithmetic, Pillow's and the reference's files."""

from fractions import Fraction

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.tasks import degradations
from tests.helpers.degraded import in_dataset, read_png, to_pixels

RGB = skimage.data.astronaut()
GRAY = skimage.data.camera()[..., None]


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
