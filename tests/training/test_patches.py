"""rnan_tf.training.patches: which patches a folder of photographs gives, and what a batch is."""

import dataclasses
import io
import itertools
import zlib

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.task import TASKS
from rnan_tf.training.patches import patch_batches
from tests.helpers.patches import (
    CACHED,
    MAP_SIZES,
    MODES,
    STREAMED,
    batches,
    clean_patches,
    locate,
    save,
    spec_of,
    turned,
)

# === Which patches ===


@MODES
def test_patches_are_crops_in_all_orientations_of_all_images(maps, cache_bytes):
    places = [locate(patch) for patch in clean_patches(maps, spec_of("denoise"), 1600, cache_bytes)]
    numbers, _, _, orientations = map(np.array, zip(*places, strict=True))
    for number, (height, width) in enumerate(MAP_SIZES):
        ys, xs = np.array([(y, x) for n, y, x, _ in places if n == number]).T
        # Every row and column up to the last that fits, none beyond.
        assert set(ys) == set(range(height - 15))
        assert set(xs) >= {0, width - 16}
        assert xs.max() == width - 16
        assert len(set(xs)) > 0.9 * (width - 15)
        assert np.corrcoef(ys, xs)[0, 1] == pytest.approx(0, abs=0.15)
    shares = np.bincount(orientations, minlength=8) / 1600
    assert shares == pytest.approx(np.full(8, 1 / 8), abs=0.03)
    assert np.corrcoef(numbers, orientations)[0, 1] == pytest.approx(0, abs=0.1)


def test_larger_images_give_more_patches(maps):
    numbers = [locate(patch)[0] for patch in clean_patches(maps, spec_of("denoise"), 1600)]
    areas = np.array(MAP_SIZES).prod(axis=1)
    assert np.bincount(numbers) / 1600 == pytest.approx(areas / areas.sum(), abs=0.03)


@MODES
def test_an_image_as_large_as_a_patch(tmp_path, cache_bytes):
    pixels = skimage.data.astronaut()[:16, 200:216]
    files = [save(tmp_path / "a.png", pixels)]
    patches = clean_patches(files, spec_of("demosaic"), 64, cache_bytes)
    expected = {turned(pixels, orientation).tobytes() for orientation in range(8)}
    assert {patch.tobytes() for patch in patches} == expected


@pytest.mark.parametrize(("name", "cache_bytes"), [*((name, CACHED) for name in TASKS), ("jpeg", STREAMED)])
def test_clean_patches_are_crops_of_the_tasks_clean_images(photos, name, cache_bytes):
    spec = spec_of(name, size=12)
    size = spec.clean_size
    windows = set()
    for file in photos:
        clean = read_clean(file, TASKS[name])
        view = np.lib.stride_tricks.sliding_window_view(clean, (size, size), axis=(0, 1))
        windows.update(view[y, x].tobytes() for y in range(view.shape[0]) for x in range(view.shape[1]))
    for patch in clean_patches(photos, spec, 24, cache_bytes):
        candidates = {np.moveaxis(turned(patch, orientation), 2, 0).tobytes() for orientation in range(8)}
        assert candidates & windows


@MODES
def test_the_busiest_of_several_pieces(photos, cache_bytes):
    """The pieces of fewer are among those of more, so a patch's detail can only grow."""

    def detail(patch):
        steps = (np.diff(patch.astype(int), axis=axis) for axis in (0, 1))
        return sum(np.abs(step).sum() for step in steps)

    spec = spec_of("demosaic")
    found = []
    for count in (1, 2, 5):
        busiest = dataclasses.replace(spec, busiest_of=count)
        found.append([*map(detail, clean_patches(photos, busiest, 64, cache_bytes))])
    for fewer, more in itertools.pairwise(np.array(found)):
        assert (more >= fewer).all()
        assert (more > fewer).mean() > 0.3


# === What a batch is ===


@pytest.mark.parametrize(
    ("name", "strengths", "cache_bytes"),
    [
        ("denoise", "50", CACHED),
        ("denoise", "0-75", CACHED),
        ("denoise-gray", "10-70", CACHED),
        ("demosaic", None, CACHED),
        ("jpeg", "10", CACHED),
        ("jpeg", "5-60", CACHED),
        ("jpeg-color", "10", CACHED),
        ("jpeg-color", "5-95", STREAMED),
        ("sr-x2", None, CACHED),
        ("sr-x3", None, CACHED),
        ("sr-x4", None, CACHED),
        ("denoise-gray", "0-75", STREAMED),
        ("demosaic", None, STREAMED),
        ("sr-x3", None, STREAMED),
    ],
)
def test_batches(photos, name, strengths, cache_bytes):
    spec = spec_of(name, strengths)
    task, scale = spec.task, int(name[-1]) if name.startswith("sr") else 1
    is_random = name.startswith("denoise") or "-" in (strengths or "")
    dataset = patch_batches(photos, spec, 4, cache_bytes=cache_bytes)
    degraded_spec = tf.TensorSpec((4, 16, 16, task.channels), tf.float32)
    if task.conditional and "-" in strengths:
        degraded_spec = {"image": degraded_spec, "level": tf.TensorSpec((4,), tf.float32)}
    clean_spec = tf.TensorSpec((4, 16 * scale, 16 * scale, task.channels), tf.float32)
    assert dataset.element_spec == (degraded_spec, clean_spec)
    assert spec.clean_size == 16 * scale
    for x, clean in itertools.islice(dataset.as_numpy_iterator(), 4):
        degraded = x["image"] if isinstance(x, dict) else x
        for images in (degraded, clean):
            # 8-bit values from 0 to 1, and not a constant.
            np.testing.assert_array_equal(images, np.rint(images * 255).astype(np.uint8) / np.float32(255))
            assert np.ptp(images) > 0.3
        if not is_random:
            for image, patch in zip(degraded, clean, strict=True):
                expected = task.degrade(np.rint(patch * 255).astype(np.uint8), (0, 0), spec.strengths[0])
                np.testing.assert_array_equal(image, expected / np.float32(255))


@pytest.fixture(scope="module")
def gray_card(tmp_path_factory):
    return [save(tmp_path_factory.mktemp("card") / "gray.png", np.full((80, 80, 3), 128, np.uint8))]


@pytest.mark.parametrize(
    ("name", "sigma", "cache_bytes"),
    [("denoise", "25", CACHED), ("denoise", "12.5", STREAMED), ("denoise-gray", "12.5", CACHED)],
)
def test_noise_has_its_sigma_and_is_new_in_every_patch(gray_card, name, sigma, cache_bytes):
    parts = [x for x, _ in batches(gray_card, spec_of(name, sigma, size=64), 4, 8, cache_bytes=cache_bytes)]
    noise = np.concatenate(parts).reshape(32, -1) * 255 - 128
    assert noise.std(axis=1) == pytest.approx(np.full(32, float(sigma)), rel=0.04)
    assert noise.std() == pytest.approx(float(sigma), rel=0.01)
    assert np.abs(np.corrcoef(noise) - np.eye(32)).max() < 0.08  # five standard errors of 4,096 values


@pytest.mark.parametrize(("name", "cache_bytes"), [("denoise", STREAMED), ("denoise-gray", CACHED)])
def test_a_range_of_sigmas_is_covered_and_told(gray_card, name, cache_bytes):
    spec = spec_of(name, "5-30", size=64)
    assert spec.conditional
    noise, sigmas = [], []
    for x, _ in batches(gray_card, spec, 12, 8, cache_bytes=cache_bytes):
        noise.append(x["image"].reshape(8, -1) * 255 - 128)
        sigmas.append(x["level"] * 255)
    noise, sigmas = np.concatenate(noise), np.concatenate(sigmas)
    measured = np.sqrt(noise.var(axis=1) - 1 / 12)  # without the variance of rounding
    assert measured == pytest.approx(sigmas, rel=0.05)
    assert np.mean(measured / sigmas) == pytest.approx(1, abs=0.003)  # three standard errors
    assert 5 <= sigmas.min() < 7
    assert 28 < sigmas.max() <= 30
    assert np.abs(sigmas - np.rint(sigmas)).max() > 0.4  # any number in between
    assert np.histogram(sigmas, 5, (5, 30))[0].min() >= 8


def pillow_jpeg(pixels, quality, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **options)
    return np.asarray(Image.open(buffer))


@MODES
def test_a_range_of_jpeg_qualities_is_covered_in_whole_numbers(photos, cache_bytes):
    spec = spec_of("jpeg", "8-12", size=32)
    assert not spec.conditional
    found = []
    for x, clean in batches(photos, spec, 10, 8, cache_bytes=cache_bytes):
        for degraded, patch in zip(x, clean, strict=True):
            pixels, expected = (np.rint(x[..., 0] * 255).astype(np.uint8) for x in (patch, degraded))
            same = [q for q in range(5, 16) if np.array_equal(pillow_jpeg(pixels, q), expected)]
            assert same
            found += same if len(same) == 1 else []  # flat patches look alike at several qualities
    assert set(found) == {8, 9, 10, 11, 12}


@pytest.mark.parametrize(
    ("name", "strengths", "expected"),
    [
        ("denoise", "50", False),
        ("denoise", "0-75", True),
        ("denoise-gray", "1-2", True),
        ("demosaic", None, False),
        ("jpeg", "5-60", False),
        ("jpeg-color", "10", False),
        ("jpeg-color", "5-95", True),
        ("sr-x3", None, False),
    ],
)
def test_the_network_is_told_the_strength_only_of_a_range(name, strengths, expected):
    assert spec_of(name, strengths).conditional is expected


@pytest.mark.parametrize("among", [("4:4:4",), ("4:2:0", "4:4:4", "4:2:2")])
def test_color_jpegs_have_the_quality_that_is_told_and_a_drawn_subsampling(photos, among):
    spec = spec_of("jpeg-color", "8-12", size=32)
    spec = dataclasses.replace(spec, task=spec.task.with_subsampling(*among))
    qualities, subsamplings = set(), set()
    for x, clean in batches(photos, spec, 10, 8):
        for degraded, told, patch in zip(x["image"], x["level"], clean, strict=True):
            pixels, expected = (np.rint(image * 255).astype(np.uint8) for image in (patch, degraded))
            quality = round(float(told) * 255)
            assert told * 255 == pytest.approx(quality, abs=1e-4)
            same = [name for name in among if np.array_equal(pillow_jpeg(pixels, quality, subsampling=name), expected)]
            assert same
            qualities.add(quality)
            subsamplings.update(same if len(same) == 1 else [])
    assert qualities == {8, 9, 10, 11, 12}
    assert subsamplings == set(among)


# Of the first batches of (task, strengths, patch size), as they were before there was a task `jpeg-color`.
CHECKSUMS = {
    ("denoise", "0-75", 16): 3723833014,
    ("denoise-gray", "25", 16): 179772227,
    ("demosaic", None, 16): 4209382179,
    ("jpeg", "5-60", 16): 2603133374,
    ("sr-x3", None, 8): 758023548,
}


@pytest.mark.parametrize(("name", "strengths", "size"), CHECKSUMS)
def test_a_seed_gives_the_patches_that_it_always_gave(maps, name, strengths, size):
    arrays = tf.nest.flatten(batches(maps, spec_of(name, strengths, size), 4))
    images = [np.rint(array * 255).astype(np.uint8).tobytes() for array in arrays if array.ndim == 4]
    assert zlib.crc32(b"".join(images)) == CHECKSUMS[name, strengths, size]
