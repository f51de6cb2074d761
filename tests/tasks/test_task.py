"""rnan_tf.tasks.task: strengths, clean images, scoring and baselines of the tasks."""

import dataclasses
import io

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo
from rnan_tf.photos.pixels import rgb_to_gray_8bit
from rnan_tf.tasks.metrics import psnr
from rnan_tf.tasks.strength import QUALITY, SIGMA, STRENGTHS
from rnan_tf.tasks.task import TASKS, Scoring, get_task

RGB = skimage.data.chelsea()[:101, 100:227]
GRAY = skimage.data.camera()[100:201, 150:277, None]
PUBLISHED = [
    (task.name, value) for task in TASKS.values() for value in (task.strength.published if task.strength else (0,))
]


# name: channels, scale, strength, told to the network, mosaic, of luma, loss
TABLE = {
    "denoise": (3, 1, "sigma", True, False, False, "l2"),
    "denoise-gray": (1, 1, "sigma", True, False, False, "l2"),
    "demosaic": (3, 1, None, False, True, False, "l2"),
    "jpeg": (1, 1, "quality", False, False, True, "l2"),
    "jpeg-color": (3, 1, "quality", True, False, False, "l2"),
    "sr-x2": (3, 2, None, False, False, False, "l1"),
    "sr-x3": (3, 3, None, False, False, False, "l1"),
    "sr-x4": (3, 4, None, False, False, False, "l1"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_papers_tasks(name):
    task = get_task(name)
    strength = task.strength.name if task.strength else None
    fields = (task.channels, task.scale, strength, task.conditional, task.mosaic, task.of_luma, task.loss)
    assert fields == TABLE[name]
    assert task.name == name and isinstance(task.scale, int)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.channels = 2


def test_there_are_no_other_tasks():
    assert list(TASKS) == list(TABLE)
    for name in ("deblur", "sr"):
        with pytest.raises(InputError, match=f"unknown task '{name}'; choose one of {', '.join(TABLE)}"):
            get_task(name)


# === Strengths ===


def test_the_strengths_of_the_paper():
    assert {"sigma": SIGMA, "quality": QUALITY} == STRENGTHS
    assert (SIGMA.default, SIGMA.published, SIGMA.limits) == (50, (10, 30, 50, 70), (0, 75))
    assert (QUALITY.default, QUALITY.published, QUALITY.limits) == (10, (10, 20, 30, 40), (1, 100))
    noisy = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    assert SIGMA.find(Photo(noisy, None, None, "PNG")).strength == pytest.approx(20, abs=1)
    assert QUALITY.find(Photo(noisy, None, None, "PNG")) is None


STRENGTHS_READ = [
    ("denoise", "10", (10, 10)),
    ("denoise", "0-75", (0, 75)),
    ("denoise", "12.5", (12.5, 12.5)),
    ("denoise", "0.5-55.5", (0.5, 55.5)),
    ("denoise-gray", "70", (70, 70)),
    ("denoise-gray", "25-25", (25, 25)),
    ("jpeg", "1", (1, 1)),
    ("jpeg", "100", (100, 100)),
    ("jpeg", "5-60", (5, 60)),
    ("jpeg-color", "5-95", (5, 95)),
]


@pytest.mark.parametrize(("name", "text", "expected"), STRENGTHS_READ)
def test_strengths_are_read(name, text, expected):
    task = TASKS[name]
    assert task.strength.parse(text) == expected
    other = "quality" if task.strength.name == "sigma" else "sigma"
    assert task.parse_strength(**{task.strength.name: text, other: None}) == expected


@pytest.mark.parametrize("name", TABLE)
def test_the_default_strength(name):
    default = {"sigma": 50, "quality": 10}.get(TABLE[name][2], 0)
    assert TASKS[name].parse_strength() == (default, default)
    assert TASKS[name].parse_strength(sigma=None, quality=None) == (default, default)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("denoise", text) for text in ("76", "-1", "fifty", "50-10", "10-20-30", "10-", "-", "", " ", "nan", "inf")),
        ("denoise-gray", "0-76"),
        *(("jpeg", text) for text in ("0", "101", "10.5", "5.5-10", "5-10.5", "60-5", "0-10", "nan", "inf")),
        *(("jpeg-color", text) for text in ("0", "101", "10.5", "5-94.5")),
    ],
)
def test_wrong_strengths_are_refused(name, text):
    strength = TASKS[name].strength
    low, high = strength.limits
    for read in (strength.parse, lambda text: TASKS[name].parse_strength(**{strength.name: text})):
        with pytest.raises(InputError) as caught:
            read(text)
        message = str(caught.value)
        assert message.startswith(f"`{strength.name}` must be a ")
        assert f"number from {low} to {high} or a range" in message and message.endswith(f"got {text!r}")
        assert ("whole" in message) == name.startswith("jpeg")


@pytest.mark.parametrize("text", ["10", "0", "", "2"])
@pytest.mark.parametrize("name", ["demosaic", "sr-x2", "sr-x4"])
def test_tasks_without_a_strength_take_none(name, text):
    for other in STRENGTHS:
        with pytest.raises(InputError, match=f"task {name} has no `{other}`; leave it out"):
            TASKS[name].parse_strength(**{other: text})


@pytest.mark.parametrize(
    ("name", "other", "own"), [("denoise", "quality", "sigma"), ("jpeg-color", "sigma", "quality")]
)
def test_another_tasks_strength_is_refused(name, other, own):
    with pytest.raises(InputError, match=f"task {name} has no `{other}`; give its `{own}`"):
        TASKS[name].parse_strength(**{other: "10"})


@pytest.mark.parametrize(
    ("name", "strengths", "nearest"),
    [
        ("denoise", (0, 75), 50),
        ("denoise", (5, 25), 25),
        ("denoise-gray", (60, 75), 60),
        ("jpeg", (30, 30), 30),
        ("jpeg-color", (5, 95), 10),
        ("demosaic", None, 0),
        ("demosaic", (3, 4), 0),
        ("sr-x3", None, 0),
        ("denoise", None, 0),
    ],
)
def test_nearest_is_the_default_within_a_range(name, strengths, nearest):
    assert TASKS[name].nearest(strengths) == nearest


def test_headings_name_the_strength():
    assert TASKS["denoise"].at(50.0) == ", noise sigma 50"
    assert TASKS["denoise-gray"].at(12.5) == ", noise sigma 12.5"
    assert TASKS["jpeg"].at(10) == ", JPEG quality 10"
    assert TASKS["demosaic"].at(0) == TASKS["sr-x2"].at(0) == ""


# === Clean images ===


@pytest.mark.parametrize("name", ["denoise", "demosaic", "jpeg", "jpeg-color", "denoise-gray"])
def test_clean_keeps_pixels_that_fit(name):
    task = TASKS[name]
    pixels = RGB if task.channels == 3 else GRAY
    np.testing.assert_array_equal(task.clean(pixels), pixels)


@pytest.mark.parametrize("name", ["denoise", "demosaic", "jpeg-color"])
def test_clean_repeats_gray_for_rgb_tasks(name):
    clean = TASKS[name].clean(GRAY)
    assert clean.shape == (101, 127, 3)
    for channel in range(3):
        np.testing.assert_array_equal(clean[..., channel], GRAY[..., 0])


def test_clean_for_denoise_gray_is_matlabs_gray():
    clean = TASKS["denoise-gray"].clean(RGB)
    assert clean.dtype == np.uint8
    np.testing.assert_array_equal(clean, rgb_to_gray_8bit(RGB))


def test_clean_for_jpeg_is_the_codecs_luma():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)  # saturated colours too
    clean = TASKS["jpeg"].clean(pixels)
    assert clean.shape == (200, 150, 1)
    assert clean.dtype == np.uint8
    exact = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(clean[..., 0] - exact).max() <= 0.5 + 1e-4  # 1e-4: float32
    assert np.abs(rgb_to_gray_8bit(pixels)[..., 0] - exact).max() > 0.5 + 1e-3  # MATLAB's gray is another


@pytest.mark.parametrize("pixels", [RGB, GRAY], ids=["rgb", "gray"])
@pytest.mark.parametrize(("scale", "size"), [(2, (100, 126)), (3, (99, 126)), (4, (100, 124))])
def test_clean_for_sr_is_cropped_to_a_multiple(scale, size, pixels):
    clean = TASKS[f"sr-x{scale}"].clean(pixels)
    np.testing.assert_array_equal(clean, np.broadcast_to(pixels[: size[0], : size[1]], (*size, 3)))


# === Degraded images, baselines, scoring ===


@pytest.mark.parametrize(("name", "strength"), PUBLISHED)
def test_degraded_images_are_8_bit_and_the_datas(name, strength):
    task = TASKS[name]
    clean = task.clean(RGB)
    degraded = task.degrade(clean, (3, 5), float(strength))
    scale = task.scale
    assert degraded.shape == (clean.shape[0] // scale, clean.shape[1] // scale, task.channels)
    assert degraded.dtype == np.uint8
    np.testing.assert_array_equal(degraded, task.degradation(tf.constant(clean), (3, 5), strength))
    assert psnr(task.baseline(degraded), clean) < 40


@pytest.mark.parametrize("name", ["denoise", "denoise-gray", "jpeg", "jpeg-color"])
def test_harder_strengths_are_worse(name):
    task = TASKS[name]
    strengths = sorted(task.strength.published, reverse=name.startswith("jpeg"))
    clean = task.clean(RGB[:96, :120])
    scores = [psnr(task.degrade(clean, (0, 0), strength), clean) for strength in strengths]
    assert scores == sorted(scores, reverse=True)
    assert np.diff(scores).max() < -0.5


def test_larger_scales_are_worse():
    tasks = [TASKS[f"sr-x{scale}"] for scale in (2, 3, 4)]
    clean = RGB[:96, :120]
    scores = [psnr(task.baseline(task.degrade(clean, (0, 0))), clean) for task in tasks]
    assert scores == sorted(scores, reverse=True)
    assert np.diff(scores).max() < -0.5


@pytest.mark.parametrize("name", ["demosaic", "sr-x3"])
def test_a_task_without_a_strength_ignores_one(name):
    clean = TASKS[name].clean(RGB)
    np.testing.assert_array_equal(TASKS[name].degrade(clean, (1, 2)), TASKS[name].degrade(clean, (8, 9), 3))


def test_sigma_may_be_a_fraction():
    clean = np.full((256, 256, 1), 128, np.uint8)
    degraded = TASKS["denoise-gray"].degrade(clean, (0, 0), 12.5)
    assert degraded.std() == pytest.approx(12.5, rel=0.01)


@pytest.mark.parametrize("name", ["denoise", "denoise-gray", "demosaic", "jpeg", "jpeg-color"])
def test_the_baseline_is_the_degraded_image(name):
    degraded = RGB[..., : TASKS[name].channels]
    np.testing.assert_array_equal(TASKS[name].baseline(degraded), degraded)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_baseline_of_sr_is_enlarged_bicubically(scale):
    pixels = RGB[:40, :50] // 2 + 64  # no overshoot to clip
    result = TASKS[f"sr-x{scale}"].baseline(pixels)
    assert result.dtype == np.uint8
    assert result.shape == (40 * scale, 50 * scale, 3)
    for channel in range(3):
        band = Image.fromarray(pixels[..., channel].astype(np.float32))
        expected = np.asarray(band.resize((50 * scale, 40 * scale), Image.Resampling.BICUBIC))
        inside = slice(2 * scale, -2 * scale)  # Pillow has another rule for borders
        # Half a level for each of two roundings, the first amplified by at most 1.25.
        assert np.abs(result[..., channel] - expected)[inside, inside].max() <= 0.5 + 0.5 * 1.25


@pytest.mark.parametrize("name", TABLE)
def test_scoring(name):
    scale = TASKS[name].scale
    expected = {
        "jpeg": Scoring(luma=False, border=0, ssim_window="uniform", blocking=True),
        "jpeg-color": Scoring(luma=False, border=0, ssim_window="gaussian", blocking=True),
        f"sr-x{scale}": Scoring(luma=True, border=scale, ssim_window="gaussian"),
    }
    assert TASKS[name].scoring == expected.get(name, Scoring(False, 0, "gaussian"))


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
    with pytest.raises(InputError, match=f"task {name} has no chroma subsampling; leave `subsampling` out"):
        TASKS[name].with_subsampling("4:2:0")


def test_the_subsamplings_of_a_task():
    assert TASKS["jpeg-color"].subsamplings == ("4:2:0",)
    assert TASKS["jpeg-color"].with_subsampling("4:2:0", "4:2:2").subsamplings == ("4:2:0", "4:2:2")
    assert all(task.subsamplings == () for name, task in TASKS.items() if name != "jpeg-color")


# === Without TensorFlow ===


def test_tasks_are_known_and_photographs_made_clean_without_tensorflow(run_python):
    script = """
import json, sys
import numpy as np
import rnan_tf
from rnan_tf.tasks.task import TASKS
for task in TASKS.values():
    task.clean(np.zeros((9, 9, 3), np.uint8)), task.parse_strength(), task.at(1), task.nearest((5, 5))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"})))
"""
    assert run_python(script) == []
