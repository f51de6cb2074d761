"""rnan_tf.restoring.evaluation against scikit-image's metrics, and the degraded inputs against the paper's tables."""

import io

import numpy as np
import pytest
import skimage.color
import skimage.data
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rnan_tf.photos.photo import list_images
from rnan_tf.restoring.evaluation import evaluate
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.task import TASKS

PHOTOS = {"astronaut.png": skimage.data.astronaut()[:144, 150:300], "chelsea.png": skimage.data.chelsea()[:132, 60:200]}


def clean_images(task, level):
    return [(name, task.clean(pixels, level)) for name, pixels in PHOTOS.items()]


def skimage_scores(restored, clean):
    ssim = structural_similarity(
        clean, restored, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return peak_signal_noise_ratio(clean, restored, data_range=255), ssim


def check(result, expected, rel=1e-9):
    for row, (psnr, ssim) in zip(result["images"], expected, strict=True):
        assert row["psnr"] == pytest.approx(psnr, rel=rel)
        assert row["ssim"] == pytest.approx(ssim, rel=rel)


@pytest.mark.parametrize(("name", "level"), [("denoise", 30), ("denoise-gray", 12.5), ("demosaic", 0)])
def test_the_degraded_inputs_scores_are_scikit_images(name, level):
    task = TASKS[name]
    images = clean_images(task, level)
    result = evaluate(iter(images), task, level, seed=5)
    degraded = [task.degrade(clean, (5, index), level) for index, (_, clean) in enumerate(images)]
    check(result, [skimage_scores(x, clean) for x, (_, clean) in zip(degraded, images, strict=True)])


def test_the_result():
    result = evaluate(clean_images(TASKS["denoise"], 50), TASKS["denoise"], 50)
    assert list(result) == ["task", "level", "mean", "images"]
    assert (result["task"], result["level"]) == ("denoise", 50)
    assert [list(row) for row in result["images"]] == [["name", "psnr", "ssim"]] * 2
    assert [row["name"] for row in result["images"]] == list(PHOTOS)
    assert list(result["mean"]) == ["psnr", "ssim"]
    for key, value in result["mean"].items():
        assert value == pytest.approx(sum(row[key] for row in result["images"]) / 2, rel=1e-12)


def test_demosaic_has_no_level():
    result = evaluate(clean_images(TASKS["demosaic"], 0), TASKS["demosaic"], 0)
    assert result["level"] is None


def test_jpeg_is_pillows_measured_on_luma():
    task = TASKS["jpeg"]
    images = clean_images(task, 20)
    result = evaluate(images, task, 20)
    for row, (_, clean) in zip(result["images"], images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(clean[..., 0]).save(buffer, "JPEG", quality=20)
        decoded = np.asarray(Image.open(buffer))[..., None]
        assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(clean, decoded, data_range=255), rel=1e-9)
        assert row["psnrb"] < row["psnr"] - 0.1
        # The field's uniform 8x8 window; scikit-image has odd ones only, between which its value must lie.
        around = [
            structural_similarity(
                clean[..., 0], decoded[..., 0], win_size=size, use_sample_covariance=False, data_range=255
            )
            for size in (7, 9)
        ]
        assert min(around) < row["ssim"] < max(around)


def test_color_jpeg_is_pillows_measured_on_rgb():
    task = TASKS["jpeg-color"]
    images = clean_images(task, 20)
    result = evaluate(images, task, 20)
    assert result["mean"]["psnrb"] == pytest.approx(np.mean([row["psnrb"] for row in result["images"]]))
    expected = []
    for row, (_, clean) in zip(result["images"], images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(clean).save(buffer, "JPEG", quality=20, subsampling="4:2:0")
        expected.append(skimage_scores(np.asarray(Image.open(buffer)), clean))
        assert row["psnrb"] < row["psnr"] - 0.1
    check(result, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sr_is_measured_on_y_inside_the_border(scale):
    task = TASKS["sr"]
    images = clean_images(task, scale)
    result = evaluate(images, task, scale)
    expected = []
    for _, clean in images:
        enlarged = task.baseline(task.degrade(clean, (0, 0), scale), scale)
        assert enlarged.shape == clean.shape
        y = [skimage.color.rgb2ycbcr(x)[scale:-scale, scale:-scale, :1] for x in (enlarged, clean)]
        expected.append(skimage_scores(*y))
    check(result, expected, rel=1e-5)  # scikit-image's weights differ by 0.0005 levels


def test_noise_belongs_to_seed_and_index():
    task, clean = TASKS["denoise"], PHOTOS["chelsea.png"]
    images = [("a", clean), ("b", clean)]
    first, again, other = (evaluate(images, task, 50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    values = [row["psnr"] for result in (first, other) for row in result["images"]]
    assert len(set(values)) == 4


@pytest.mark.parametrize("tiling", [None, Tiling(tile=64, overlap=16)])
@pytest.mark.parametrize(("name", "level"), [("denoise", 30), ("jpeg", 10), ("jpeg-color", 10), ("demosaic", 0)])
def test_a_network_that_changes_nothing_scores_as_its_input(name, level, tiling):
    task = TASKS[name]
    images = clean_images(task, level)
    assert evaluate(images, task, level, lambda batch: batch, tiling) == evaluate(images, task, level)


def test_the_networks_output_is_measured():
    task = TASKS["sr"]
    images = clean_images(task, 2)
    seen = []

    def nearest(batch):
        seen.append(batch.shape)
        return batch.repeat(2, axis=1).repeat(2, axis=2)

    result = evaluate(images, task, 2, nearest, Tiling(tile=32, overlap=8))
    assert len(seen) > 2 * len(images)
    assert {max(shape[1:3]) for shape in seen} == {32}  # the tiling's
    expected = []
    for _, clean in images:
        enlarged = task.degrade(clean, (0, 0), 2).repeat(2, axis=0).repeat(2, axis=1)
        expected.append(skimage_scores(*(skimage.color.rgb2ycbcr(x)[2:-2, 2:-2, :1] for x in (enlarged, clean))))
    check(result, expected, rel=1e-5)


# === What the paper's tables print for the degraded input alone ===


@pytest.mark.parametrize(
    ("name", "level", "test_set", "count", "psnr", "ssim"),
    [
        ("demosaic", 0, "Kodak24", 24, 8.56, 0.0682),
        ("demosaic", 0, "CBSD68", 68, 8.43, 0.0850),
        ("jpeg", 10, "Classic5", 5, 27.82, 0.7800),
        ("jpeg", 20, "Classic5", 5, 30.12, None),
        ("jpeg", 30, "Classic5", 5, 31.48, None),
        ("jpeg", 40, "Classic5", 5, 32.43, None),
        ("sr", 2, "Set5", 5, 33.67, None),
        ("sr", 3, "Set5", 5, 30.40, None),
        ("sr", 4, "Set5", 5, 28.43, None),
        ("sr", 2, "Set14", 14, 30.33, None),
        ("sr", 3, "Set14", 14, 27.63, None),
        ("sr", 4, "Set14", 14, 26.09, None),
    ],
)
def test_the_degraded_input_scores_as_in_the_papers_tables(data_folder, name, level, test_set, count, psnr, ssim):
    task = TASKS[name]
    files = list_images(data_folder / "test" / test_set)
    result = evaluate(((file.name, read_clean(file, task, level)) for file in files), task, level)
    assert len(result["images"]) == count
    assert result["mean"]["psnr"] == pytest.approx(psnr, abs=0.02)
    if ssim is not None:
        assert result["mean"]["ssim"] == pytest.approx(ssim, abs=0.001)
