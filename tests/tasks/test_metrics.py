"""rnan_tf.tasks.metrics against scikit-image, and against the definitions of what it does not have."""

import io
import math

import numpy as np
import pytest
import skimage.color
import skimage.data
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rnan_tf.tasks.metrics import blocking_effect, luma, psnr, psnrb, score, ssim
from rnan_tf.tasks.task import Scoring

RGB = skimage.data.astronaut()[:150, 100:301]
GRAY = skimage.data.camera()[100:233, 150:301, None]


def disturbed(pixels):
    """Noise, and a darker corner, so that means, variances and covariances all differ."""
    noise = np.random.default_rng(1).normal(0, 20, pixels.shape)
    result = np.clip(pixels + noise, 0, 255)
    result[:60, :60] *= 0.7
    return np.rint(result).astype(np.uint8)


def skimage_ssim(a, b):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return structural_similarity(a, b, channel_axis=-1, **options)


def uniform_ssim(a, b, size=8):
    """Wang's formula over all windows that fit, equation (13) of the paper."""
    values = []
    for channel in range(a.shape[-1]):
        windows = (
            np.lib.stride_tricks.sliding_window_view(x[..., channel].astype(float), (size, size)).reshape(-1, size**2)
            for x in (a, b)
        )
        x, y = windows
        mean_x, mean_y = x.mean(1), y.mean(1)
        covariance = ((x - mean_x[:, None]) * (y - mean_y[:, None])).mean(1)
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        values.append(similarity / ((mean_x**2 + mean_y**2 + c1) * (x.var(1) + y.var(1) + c2)))
    return np.mean(values)


@pytest.mark.parametrize("pixels", [RGB, GRAY], ids=["rgb", "gray"])
def test_psnr_and_gaussian_ssim_are_scikit_images(pixels):
    other = disturbed(pixels)
    result = score(other, pixels, Scoring())
    assert result.keys() == {"psnr", "ssim"}
    assert result["psnr"] == pytest.approx(peak_signal_noise_ratio(pixels, other, data_range=255), rel=1e-12)
    assert result["ssim"] == pytest.approx(skimage_ssim(pixels, other), rel=1e-9)
    assert result["ssim"] < 0.9


@pytest.mark.parametrize("pixels", [RGB[:70, :81], GRAY[:81, :70]], ids=["rgb", "gray"])
def test_uniform_ssim_is_the_formula(pixels):
    other = disturbed(pixels)
    expected = uniform_ssim(pixels, other)
    assert score(other, pixels, Scoring(ssim_window="uniform"))["ssim"] == pytest.approx(expected, rel=1e-9)
    assert abs(expected - skimage_ssim(pixels, other)) > 0.001  # the windows are not interchangeable


@pytest.mark.parametrize("border", [1, 2, 4, 20])
def test_a_border_is_left_out(border):
    other = disturbed(RGB)
    inside = slice(border, -border)
    expected = score(other[inside, inside], RGB[inside, inside], Scoring())
    wrecked = other.copy()
    wrecked[:border], wrecked[-border:], wrecked[:, :border], wrecked[:, -border:] = 0, 255, 255, 0
    assert score(wrecked, RGB, Scoring(border=border)) == expected
    assert score(wrecked, RGB, Scoring(border=border - 1)) != expected


def test_luma_is_scikit_images():
    y = luma(RGB.astype(np.float64))
    assert y.shape == (*RGB.shape[:2], 1)
    # The reference's weights are rounded to 1/256000, MATLAB's and scikit-image's to 1/255000: 0.0005 levels in all.
    np.testing.assert_allclose(y[..., 0], skimage.color.rgb2ycbcr(RGB)[..., 0], rtol=0, atol=5e-4)
    assert np.abs(y - np.rint(y)).max() > 0.4  # not rounded
    np.testing.assert_allclose(luma(np.array([[[0.0, 0, 0], [255, 255, 255]]])).ravel(), [16, 235], atol=5e-4)


def test_luma_protocol_measures_y_inside_the_border():
    other = disturbed(RGB)
    a, b = (skimage.color.rgb2ycbcr(x)[3:-3, 3:-3, :1] for x in (RGB, other))
    result = score(other, RGB, Scoring(luma=True, border=3))
    assert result["psnr"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-4)
    assert result["ssim"] == pytest.approx(skimage_ssim(a, b), abs=1e-5)
    assert abs(result["psnr"] - score(other, RGB, Scoring(border=3))["psnr"]) > 1


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
@pytest.mark.parametrize("is_luma", [False, True])
def test_equal_images(window, is_luma):
    result = score(RGB, RGB.copy(), Scoring(luma=is_luma, ssim_window=window))
    assert result["psnr"] == math.inf
    assert result["ssim"] == pytest.approx(1, abs=1e-12)


def test_psnr_of_known_errors():
    zeros = np.zeros((4, 4, 1), np.uint8)
    assert psnr(zeros, zeros + np.uint8(255)) == 0  # uint8 must not wrap around
    assert psnr(zeros + np.uint8(255), zeros) == 0
    assert psnr(zeros, zeros + np.uint8(1)) == pytest.approx(20 * math.log10(255), rel=1e-12)


@pytest.mark.parametrize(
    ("window", "size", "fits"),
    [
        ("gaussian", 11, True),
        ("gaussian", 10, False),
        ("gaussian", 1, False),
        ("uniform", 8, True),
        ("uniform", 7, False),
        ("uniform", 1, False),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_ssim_needs_an_image_as_large_as_the_window(window, size, fits, transposed):
    black, white = np.zeros((size, 30, 1)), np.full((size, 30, 1), 255.0)
    if transposed:
        black, white = black.swapaxes(0, 1), white.swapaxes(0, 1)
    value = ssim(black, white, window)
    if fits:
        c1 = (0.01 * 255) ** 2
        assert value == pytest.approx(c1 / (255**2 + c1), rel=1e-6)  # two constants: no variance
    else:
        assert math.isnan(value)


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_a_tiny_image_has_a_psnr_but_no_ssim(window, size):
    pixels = np.full((size, size, 3), 100, np.uint8)
    result = score(pixels, pixels + np.uint8(1), Scoring(ssim_window=window))
    assert result["psnr"] == pytest.approx(20 * math.log10(255), rel=1e-12)
    assert math.isnan(result["ssim"])


@pytest.mark.parametrize("other", [RGB[:-1], RGB[:, :-1], RGB[..., :1]], ids=["height", "width", "channels"])
def test_images_must_have_one_shape(other):
    with pytest.raises(ValueError, match=r"must have one shape. Received: \(150, 201, 3\) and \("):
        score(RGB, other, Scoring())


# === PSNR-B ===


def blocking_loop(plane, block=8):
    """Yim and Bovik's equations (8) to (14), pixel by pixel; boundaries are counted as N (M / B - 1)."""
    height, width = plane.shape
    across = [
        (float(plane[y, x]) - float(plane[y, x + 1])) ** 2
        for y in range(height)
        for x in range(width - 1)
        if x % block == block - 1
    ]
    down = [
        (float(plane[y, x]) - float(plane[y + 1, x])) ** 2
        for y in range(height - 1)
        for x in range(width)
        if y % block == block - 1
    ]
    inside = [
        (float(plane[y, x]) - float(plane[y, x + 1])) ** 2
        for y in range(height)
        for x in range(width - 1)
        if x % block != block - 1
    ]
    inside += [
        (float(plane[y, x]) - float(plane[y + 1, x])) ** 2
        for y in range(height - 1)
        for x in range(width)
        if y % block != block - 1
    ]
    boundaries = height * (width / block - 1) + width * (height / block - 1)
    others = height * (width - 1) + width * (height - 1) - boundaries
    boundary, other = sum(across + down) / boundaries, sum(inside) / others
    return math.log2(block) / math.log2(min(height, width)) * (boundary - other) if boundary > other else 0.0


def jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=quality)
    return np.atleast_3d(np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (9, 40), (96, 9)])
@pytest.mark.parametrize("quality", [5, 30])
def test_psnrb_of_gray_is_the_formula(size, quality):
    clean = GRAY[: size[0], : size[1]]
    restored = jpeg(clean, quality)
    effect = blocking_loop(restored[..., 0])
    assert effect > 0 or quality == 30
    assert blocking_effect(restored[..., 0].astype(float)) == pytest.approx(effect, rel=1e-9)
    expected = 10 * math.log10(255**2 / (np.mean((restored.astype(float) - clean) ** 2) + effect))
    result = score(restored, clean, Scoring(blocking=True))
    assert result["psnrb"] == pytest.approx(expected, rel=1e-9)
    assert (result["psnrb"] < result["psnr"]) == (effect > 0)


def test_psnrb_of_rgb_adds_the_lumas_blocking_to_the_error_of_all_channels():
    clean = RGB[:120, :160]
    restored = jpeg(clean, 10)
    effect = blocking_loop(np.rint(skimage.color.rgb2ycbcr(restored)[..., 0]))
    expected = 10 * math.log10(255**2 / (np.mean((restored.astype(float) - clean) ** 2) + effect))
    assert psnrb(restored, clean) == pytest.approx(expected, abs=1e-3)  # the weights of Y are rounded otherwise
    assert psnr(restored, clean) - psnrb(restored, clean) > 0.3


def test_blocks_that_are_not_at_the_codecs_places_do_not_count():
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (12, 12)), np.ones((8, 8)))
    assert blocking_effect(blocks) > 1000
    assert blocking_effect(blocks[4:, 4:]) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (8, 90), (90, 8), (5, 3)])
def test_one_block_has_no_edges(size):
    plane = np.random.default_rng(0).integers(0, 256, size).astype(float)
    assert blocking_effect(plane) == 0


def test_psnrb_of_equal_images_is_finite_where_they_have_blocks():
    flat = np.full((80, 40, 3), 7.0)
    assert psnrb(flat, flat) == math.inf
    blocks = np.repeat(flat, 8, axis=0) * np.arange(80).repeat(8)[:, None, None] % 256
    assert 0 < psnrb(blocks, blocks) < 40
