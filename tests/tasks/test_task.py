"""rnan_tf.tasks.task: levels, clean images, protocols and baselines of the tasks."""

import dataclasses
import io

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.photos.pixels import rgb_to_gray_8bit
from rnan_tf.tasks.metrics import Protocol, psnr
from rnan_tf.tasks.task import TASKS, get_task

RGB = skimage.data.chelsea()[:101, 100:227]
GRAY = skimage.data.camera()[100:201, 150:277, None]
LEVELS = [(task.name, level) for task in TASKS.values() for level in task.paper_levels]


# name: channels, default level, the paper's levels, range allowed, told to the network, loss
TABLE = {
    "denoise": (3, 50, (10, 30, 50, 70), True, True, "l2"),
    "denoise-gray": (1, 50, (10, 30, 50, 70), True, True, "l2"),
    "demosaic": (3, 0, (0,), False, False, "l2"),
    "jpeg": (1, 10, (10, 20, 30, 40), True, False, "l2"),
    "jpeg-color": (3, 10, (10, 20, 30, 40), True, True, "l2"),
    "sr": (3, 2, (2, 3, 4), False, False, "l1"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_papers_tasks(name):
    task = get_task(name)
    fields = (task.channels, task.default_level, task.paper_levels, task.level_range, task.conditional, task.loss)
    assert fields == TABLE[name]
    assert task.name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.channels = 2


def test_there_are_no_other_tasks():
    assert list(TASKS) == list(TABLE)
    with pytest.raises(
        InputError, match="unknown task 'deblur'; choose one of denoise, denoise-gray, demosaic, jpeg, jpeg-color, sr"
    ):
        get_task("deblur")


# === Levels ===


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("denoise", None, (50, 50)),
        ("denoise", "10", (10, 10)),
        ("denoise", "0-75", (0, 75)),
        ("denoise", "12.5", (12.5, 12.5)),
        ("denoise", "0.5-55.5", (0.5, 55.5)),
        ("denoise-gray", "70", (70, 70)),
        ("denoise-gray", "25-25", (25, 25)),
        ("demosaic", None, (0, 0)),
        ("jpeg", None, (10, 10)),
        ("jpeg", "1", (1, 1)),
        ("jpeg", "100", (100, 100)),
        ("jpeg", "5-60", (5, 60)),
        ("jpeg-color", None, (10, 10)),
        ("jpeg-color", "5-95", (5, 95)),
        ("sr", None, (2, 2)),
        ("sr", "3", (3, 3)),
    ],
)
def test_levels_are_read(name, text, expected):
    assert TASKS[name].parse_level(text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("denoise", text) for text in ("76", "-1", "fifty", "50-10", "10-20-30", "10-", "-", "", " ", "nan", "inf")),
        ("denoise-gray", "0-76"),
        *(("jpeg", text) for text in ("0", "101", "10.5", "5.5-10", "5-10.5", "60-5", "0-10")),
        *(("jpeg-color", text) for text in ("0", "101", "10.5", "5-94.5")),
        *(("sr", text) for text in ("1", "5", "2-4", "2-2", "2.5", "x2")),
    ],
)
def test_wrong_levels_are_refused(name, text):
    task = TASKS[name]
    low, high = task.level_limits
    with pytest.raises(InputError) as caught:
        task.parse_level(text)
    message = str(caught.value)
    assert f"level {text!r} of task {name} ({task.level_name})" in message
    assert f"number from {low} to {high}" in message
    assert ("a range" in message) == task.level_range
    assert ("whole" in message) == (name in ("jpeg", "jpeg-color", "sr"))


@pytest.mark.parametrize("text", ["10", "0", ""])
def test_demosaic_has_no_level(text):
    with pytest.raises(InputError, match="task demosaic has no level; leave --level out"):
        TASKS["demosaic"].parse_level(text)


# === Clean images ===


@pytest.mark.parametrize("name", ["denoise", "demosaic", "jpeg", "jpeg-color", "denoise-gray", "sr"])
def test_clean_keeps_pixels_that_fit(name):
    task = TASKS[name]
    pixels = RGB if task.channels == 3 else GRAY
    np.testing.assert_array_equal(task.clean(pixels, 1), pixels)


@pytest.mark.parametrize("name", ["denoise", "demosaic", "jpeg-color"])
def test_clean_repeats_gray_for_rgb_tasks(name):
    clean = TASKS[name].clean(GRAY, 50)
    assert clean.shape == (101, 127, 3)
    for channel in range(3):
        np.testing.assert_array_equal(clean[..., channel], GRAY[..., 0])


def test_clean_for_denoise_gray_is_matlabs_gray():
    clean = TASKS["denoise-gray"].clean(RGB, 30)
    assert clean.dtype == np.uint8
    np.testing.assert_array_equal(clean, rgb_to_gray_8bit(RGB))


def test_clean_for_jpeg_is_the_codecs_luma():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)  # saturated colours too
    clean = TASKS["jpeg"].clean(pixels, 10)
    assert clean.shape == (200, 150, 1)
    assert clean.dtype == np.uint8
    exact = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(clean[..., 0] - exact).max() <= 0.5 + 1e-4  # 1e-4: float32
    assert np.abs(rgb_to_gray_8bit(pixels)[..., 0] - exact).max() > 0.5 + 1e-3  # MATLAB's gray is another


@pytest.mark.parametrize("pixels", [RGB, GRAY], ids=["rgb", "gray"])
@pytest.mark.parametrize(("level", "size"), [(2, (100, 126)), (3, (99, 126)), (4, (100, 124)), (2.0, (100, 126))])
def test_clean_for_sr_is_cropped_to_a_multiple(level, size, pixels):
    clean = TASKS["sr"].clean(pixels, level)
    np.testing.assert_array_equal(clean, np.broadcast_to(pixels[: size[0], : size[1]], (*size, 3)))


# === Degraded images, baselines, protocols ===


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_degraded_images_are_8_bit_and_the_datas(name, level):
    task = TASKS[name]
    clean = task.clean(RGB, level)
    degraded = task.degrade(clean, (3, 5), float(level))
    scale = task.scale(level)
    assert degraded.shape == (clean.shape[0] // scale, clean.shape[1] // scale, task.channels)
    assert degraded.dtype == np.uint8
    np.testing.assert_array_equal(degraded, task.degradation(tf.constant(clean), (3, 5), level))
    assert psnr(task.baseline(degraded, level), clean) < 40


@pytest.mark.parametrize("name", ["denoise", "denoise-gray", "jpeg", "jpeg-color", "sr"])
def test_harder_levels_are_worse(name):
    task = TASKS[name]
    levels = sorted(task.paper_levels, reverse=name.startswith("jpeg"))
    clean = task.clean(RGB[:96, :120], 1)
    scores = [psnr(task.baseline(task.degrade(clean, (0, 0), level), level), clean) for level in levels]
    assert scores == sorted(scores, reverse=True)
    assert np.diff(scores).max() < -0.5


def test_noise_levels_may_be_fractions():
    clean = np.full((256, 256, 1), 128, np.uint8)
    degraded = TASKS["denoise-gray"].degrade(clean, (0, 0), 12.5)
    assert degraded.std() == pytest.approx(12.5, rel=0.01)


@pytest.mark.parametrize("name", ["denoise", "denoise-gray", "demosaic", "jpeg", "jpeg-color"])
def test_the_baseline_is_the_degraded_image(name):
    degraded = RGB[..., : TASKS[name].channels]
    np.testing.assert_array_equal(TASKS[name].baseline(degraded, 10), degraded)


@pytest.mark.parametrize("level", [2, 3, 4, 4.0])
def test_the_baseline_of_sr_is_enlarged_bicubically(level):
    pixels = RGB[:40, :50] // 2 + 64  # no overshoot to clip
    scale = int(level)
    result = TASKS["sr"].baseline(pixels, level)
    assert result.dtype == np.uint8
    assert result.shape == (40 * scale, 50 * scale, 3)
    for channel in range(3):
        band = Image.fromarray(pixels[..., channel].astype(np.float32))
        expected = np.asarray(band.resize((50 * scale, 40 * scale), Image.Resampling.BICUBIC))
        inside = slice(2 * scale, -2 * scale)  # Pillow has another rule for borders
        # Half a level for each of two roundings, the first amplified by at most 1.25.
        assert np.abs(result[..., channel] - expected)[inside, inside].max() <= 0.5 + 0.5 * 1.25


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_protocols(name, level):
    expected = {
        "jpeg": Protocol(luma=False, border=0, ssim_window="uniform", blocking=True),
        "jpeg-color": Protocol(luma=False, border=0, ssim_window="gaussian", blocking=True),
        "sr": Protocol(luma=True, border=int(level), ssim_window="gaussian"),
    }
    assert TASKS[name].protocol(float(level)) == expected.get(name, Protocol(False, 0, "gaussian"))
    assert TASKS[name].scale(float(level)) == (level if name == "sr" else 1)
    assert isinstance(TASKS[name].scale(float(level)), int)


# === Chroma subsampling ===


def test_a_color_jpeg_is_420_unless_told_otherwise():
    task = TASKS["jpeg-color"]
    for other, subsampling in (
        (task, "4:2:0"),
        (task.with_subsampling("4:4:4"), "4:4:4"),
        (task.with_subsampling(), "4:2:0"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(buffer, "JPEG", quality=25, subsampling=subsampling)
        np.testing.assert_array_equal(other.degrade(RGB, (1, 2), 25.0), np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("name", [name for name in TASKS if name != "jpeg-color"])
def test_other_tasks_have_no_subsampling(name):
    assert TASKS[name].with_subsampling() is TASKS[name]
    with pytest.raises(InputError, match=f"task {name} has no chroma subsampling; leave --subsampling out"):
        TASKS[name].with_subsampling("4:2:0")
