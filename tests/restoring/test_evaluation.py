"""rnan_tf.restoring.evaluation against scikit-image's metrics, and the degraded inputs against the paper's tables."""

import io

import numpy as np
import pytest
import skimage.color
import skimage.data
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rnan_tf.errors import InputError
from rnan_tf.photos.finding import list_images
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import TASKS, get_task

PHOTOS = {"astronaut.png": skimage.data.astronaut()[:144, 150:300], "chelsea.png": skimage.data.chelsea()[:132, 60:200]}


def clean_images(task):
    return [(name, task.clean(pixels)) for name, pixels in PHOTOS.items()]


def scores(*args, **options):
    return [image.scores for image in evaluate(*args, **options)]


def skimage_scores(restored, clean):
    ssim = structural_similarity(
        clean, restored, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return peak_signal_noise_ratio(clean, restored, data_range=255), ssim


def check(found, expected, rel=1e-9):
    for row, (psnr, ssim) in zip(found, expected, strict=True):
        assert row["psnr"] == pytest.approx(psnr, rel=rel)
        assert row["ssim"] == pytest.approx(ssim, rel=rel)


@pytest.mark.parametrize(("name", "strength"), [("denoise", 30), ("denoise-gray", 12.5), ("demosaic", 0)])
def test_the_degraded_inputs_scores_are_scikit_images(name, strength):
    task = TASKS[name]
    images = clean_images(task)
    degraded = [task.degrade(clean, (5, index), strength) for index, (_, clean) in enumerate(images)]
    expected = [skimage_scores(x, clean) for x, (_, clean) in zip(degraded, images, strict=True)]
    check(scores(iter(images), task, strength, seed=5), expected)


@pytest.mark.parametrize(("name", "strength"), [("denoise", 50), ("jpeg", 20), ("sr-x3", 0)])
def test_what_becomes_of_each_image(name, strength):
    task = TASKS[name]
    images = clean_images(task)
    for index, image in enumerate(evaluate(images, task, strength, seed=3)):
        assert image.name == list(PHOTOS)[index]
        assert image.clean is images[index][1]
        np.testing.assert_array_equal(image.degraded, task.degrade(image.clean, (3, index), strength))
        np.testing.assert_array_equal(image.restored, task.baseline(image.degraded))
        assert image.scores == score(image.restored, image.clean, task.scoring)
        assert list(image.scores) == ["psnr", "ssim", *(["psnrb"] if name == "jpeg" else [])]
    assert index == 1


def test_the_mean():
    found = scores(clean_images(TASKS["denoise"]), TASKS["denoise"], 50)
    mean = mean_scores(iter(found))
    assert list(mean) == ["psnr", "ssim"]
    for key, value in mean.items():
        assert value == pytest.approx(sum(row[key] for row in found) / 2, rel=1e-12)
    assert mean_scores([{"psnr": 30.0}]) == {"psnr": 30.0}


def test_images_come_one_after_the_other_and_in_order():
    """So that a program can show each when it is done, and one image at a time is in memory."""
    read = []

    def images():
        for name in "abc":
            read.append(name)
            yield name, PHOTOS["chelsea.png"][:32, :32]

    found = evaluate(images(), TASKS["denoise"], 50)
    assert read == []
    for name in "abc":
        assert next(found).name == name == read[-1]
    assert next(found, None) is None and read == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["denoise", "demosaic", "sr-x2"])
def test_what_is_restored_is_the_restorers(models, name):
    restorer = Restorer.from_preset(models / f"{name}.keras")
    strength = 30 if name == "denoise" else 0
    tiling = restorer.tiling(32, 8)
    found = evaluate(clean_images(restorer.task), restorer.task, strength, restorer.predictor(strength), tiling)
    for image in found:
        options = {"sigma": strength} if strength else {}
        np.testing.assert_array_equal(image.restored, restorer(image.degraded, tile=32, overlap=8, **options))


def test_jpeg_is_pillows_measured_on_luma():
    task = TASKS["jpeg"]
    images = clean_images(task)
    for row, (_, clean) in zip(scores(images, task, 20), images, strict=True):
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
    images = clean_images(task)
    found = scores(images, task, 20)
    assert mean_scores(found)["psnrb"] == pytest.approx(np.mean([row["psnrb"] for row in found]))
    expected = []
    for row, (_, clean) in zip(found, images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(clean).save(buffer, "JPEG", quality=20, subsampling="4:2:0")
        expected.append(skimage_scores(np.asarray(Image.open(buffer)), clean))
        assert row["psnrb"] < row["psnr"] - 0.1
    check(found, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sr_is_measured_on_y_inside_the_border(scale):
    task = TASKS[f"sr-x{scale}"]
    images = clean_images(task)
    expected = []
    for _, clean in images:
        enlarged = task.baseline(task.degrade(clean, (0, 0)))
        assert enlarged.shape == clean.shape
        y = [skimage.color.rgb2ycbcr(x)[scale:-scale, scale:-scale, :1] for x in (enlarged, clean)]
        expected.append(skimage_scores(*y))
    check(scores(images, task), expected, rel=1e-5)  # scikit-image's weights differ by 0.0005 levels


def test_noise_belongs_to_seed_and_index():
    task, clean = TASKS["denoise"], PHOTOS["chelsea.png"]
    images = [("a", clean), ("b", clean)]
    first, again, other = (scores(images, task, 50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert len({row["psnr"] for row in [*first, *other]}) == 4


@pytest.mark.parametrize("tiling", [None, Tiling(tile=64, overlap=16)])
@pytest.mark.parametrize(("name", "strength"), [("denoise", 30), ("jpeg", 10), ("jpeg-color", 10), ("demosaic", 0)])
def test_a_network_that_changes_nothing_scores_as_its_input(name, strength, tiling):
    task = TASKS[name]
    images = clean_images(task)
    assert scores(images, task, strength, lambda batch: batch, tiling) == scores(images, task, strength)


def test_the_networks_output_is_measured():
    task = TASKS["sr-x2"]
    images = clean_images(task)
    seen = []

    def nearest(batch):
        seen.append(batch.shape)
        return batch.repeat(2, axis=1).repeat(2, axis=2)

    found = scores(images, task, 0, nearest, Tiling(tile=32, overlap=8))
    assert len(seen) > 2 * len(images)
    assert {max(shape[1:3]) for shape in seen} == {32}  # the tiling's
    expected = []
    for _, clean in images:
        enlarged = task.degrade(clean, (0, 0)).repeat(2, axis=0).repeat(2, axis=1)
        expected.append(skimage_scores(*(skimage.color.rgb2ycbcr(x)[2:-2, 2:-2, :1] for x in (enlarged, clean))))
    check(found, expected, rel=1e-5)


# === What the paper's tables print for the degraded input alone ===


@pytest.mark.parametrize(
    ("name", "strength", "test_set", "count", "psnr", "ssim"),
    [
        ("demosaic", 0, "Kodak24", 24, 8.56, 0.0682),
        ("demosaic", 0, "CBSD68", 68, 8.43, 0.0850),
        ("jpeg", 10, "Classic5", 5, 27.82, 0.7800),
        ("jpeg", 20, "Classic5", 5, 30.12, None),
        ("jpeg", 30, "Classic5", 5, 31.48, None),
        ("jpeg", 40, "Classic5", 5, 32.43, None),
        ("sr-x2", 0, "Set5", 5, 33.67, None),
        ("sr-x3", 0, "Set5", 5, 30.40, None),
        ("sr-x4", 0, "Set5", 5, 28.43, None),
        ("sr-x2", 0, "Set14", 14, 30.33, None),
        ("sr-x3", 0, "Set14", 14, 27.63, None),
        ("sr-x4", 0, "Set14", 14, 26.09, None),
    ],
)
def test_the_degraded_input_scores_as_in_the_papers_tables(data_folder, name, strength, test_set, count, psnr, ssim):
    task = TASKS[name]
    files = list_images(data_folder / "test" / test_set)
    found = scores(((file.name, read_clean(file, task)) for file in files), task, strength)
    assert len(found) == count
    mean = mean_scores(found)
    assert mean["psnr"] == pytest.approx(psnr, abs=0.02)
    if ssim is not None:
        assert mean["ssim"] == pytest.approx(ssim, abs=0.001)


@pytest.mark.parametrize(("task", "least"), [("sr-x2", 15), ("sr-x4", 19), ("denoise", 11), ("denoise-gray", 11)])
def test_an_image_that_ssims_window_does_not_fit_in_is_named(task, least):
    task = get_task(task)
    least -= least % task.scale and task.scale - least % task.scale  # sizes are multiples of the scale
    with pytest.raises(InputError, match=rf"^tiny: 40x{least - task.scale} is too small to be measured"):
        list(evaluate([("tiny", np.zeros((least - task.scale, 40, task.channels), np.uint8))], task, 25))
    for side in (task.scoring.least_side, 40):
        side += -side % task.scale
        (measured,) = evaluate([("small", np.full((side, side, task.channels), 99, np.uint8))], task, 25)
        assert np.isfinite(measured.scores["ssim"])
