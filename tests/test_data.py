"""rnan_tf.data: which patches a folder of photographs gives, and that each is a function of (seed, number)."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf import data
from rnan_tf.data import PATCHES_PER_DECODE, PatchSpec, patch_batches, read_clean, read_images
from rnan_tf.errors import InputError
from rnan_tf.images import ImageError
from rnan_tf.tasks import TASKS

CACHED, STREAMED = None, 0
MODES = pytest.mark.parametrize("cache_bytes", [CACHED, STREAMED], ids=["cached", "streamed"])
SEED = 11


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def spec_of(name, level=None, size=16, seed=SEED):
    return PatchSpec(TASKS[name], TASKS[name].parse_level(level), size, seed)


def batches(files, spec, count, batch_size=4, first_step=0, cache_bytes=CACHED):
    """The first `count` batches as nested numpy arrays."""
    dataset = patch_batches(files, spec, batch_size, first_step, cache_bytes)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def clean_patches(files, spec, count, cache_bytes=CACHED, batch_size=8):
    """`count` clean patches as uint8."""
    parts = [clean for _, clean in batches(files, spec, -(-count // batch_size), batch_size, cache_bytes=cache_bytes)]
    return np.rint(np.concatenate(parts)[:count] * 255).astype(np.uint8)


def assert_same(a, b):
    tf.nest.assert_same_structure(a, b)
    assert len(tf.nest.flatten(a)) > 0
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(x, y)


def turned(patch, orientation):
    """One of the eight turns and flips."""
    patch = np.rot90(patch, orientation % 4)
    return patch[:, ::-1] if orientation >= 4 else patch


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five photographs of different kinds and sizes."""
    folder = tmp_path_factory.mktemp("photos")
    save(folder / "astronaut.png", skimage.data.astronaut()[:90, 180:260])
    save(folder / "camera.png", skimage.data.camera()[100:181, 200:299])  # gray
    save(folder / "chelsea.png", skimage.data.chelsea()[80:180, 120:220])
    save(folder / "coffee.jpg", skimage.data.coffee()[100:200, 200:333], quality=95)
    alpha = skimage.data.astronaut()[200:300, 100:185, :1]
    save(folder / "rgba.png", np.concatenate([skimage.data.astronaut()[200:300, 100:185], alpha], axis=2))
    return sorted(folder.iterdir())


MAP_SIZES = [(60, 90), (33, 100), (41, 37)]


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Images whose pixels say where they are: (y, x, 80 * number)."""
    folder = tmp_path_factory.mktemp("maps")
    for number, (height, width) in enumerate(MAP_SIZES):
        y, x = np.mgrid[:height, :width]
        save(folder / f"{number}.png", np.stack([y, x, np.full_like(y, 80 * number)], axis=2).astype(np.uint8))
    return sorted(folder.iterdir())


def locate(patch):
    """Return (number, y, x, orientation) of a patch of `maps`; fails if it is not a turned or flipped crop."""
    for orientation in range(8):
        upright = turned(patch, orientation)
        y, x, value = upright[0, 0].tolist()
        if upright[-1, -1].tolist() == [y + 15, x + 15, value] and upright[-1, 0, 0] == y + 15:
            break
    yy, xx = np.mgrid[y : y + 16, x : x + 16]
    np.testing.assert_array_equal(upright, np.stack([yy, xx, np.full_like(yy, value)], axis=2))
    return value // 80, y, x, orientation


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
        clean = read_clean(file, TASKS[name], spec.level[0])
        view = np.lib.stride_tricks.sliding_window_view(clean, (size, size), axis=(0, 1))
        windows.update(view[y, x].tobytes() for y in range(view.shape[0]) for x in range(view.shape[1]))
    for patch in clean_patches(photos, spec, 24, cache_bytes):
        candidates = {np.moveaxis(turned(patch, orientation), 2, 0).tobytes() for orientation in range(8)}
        assert candidates & windows


# === What a batch is ===


@pytest.mark.parametrize(
    ("name", "level", "cache_bytes"),
    [
        ("denoise", "50", CACHED),
        ("denoise", "0-75", CACHED),
        ("denoise-gray", "10-70", CACHED),
        ("demosaic", None, CACHED),
        ("jpeg", "10", CACHED),
        ("jpeg", "5-60", CACHED),
        ("sr", "2", CACHED),
        ("sr", "3", CACHED),
        ("sr", "4", CACHED),
        ("denoise-gray", "0-75", STREAMED),
        ("demosaic", None, STREAMED),
        ("sr", "3", STREAMED),
    ],
)
def test_batches(photos, name, level, cache_bytes):
    spec = spec_of(name, level)
    task, scale = spec.task, int(level) if name == "sr" else 1
    is_random = name.startswith("denoise") or "-" in (level or "")
    dataset = patch_batches(photos, spec, 4, cache_bytes=cache_bytes)
    degraded_spec = tf.TensorSpec((4, 16, 16, task.channels), tf.float32)
    if task.conditional and "-" in level:
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
                expected = task.degraded(np.rint(patch * 255).astype(np.uint8), (0, 0), spec.level[0])
                np.testing.assert_array_equal(image, expected / np.float32(255))


@pytest.fixture(scope="module")
def gray_card(tmp_path_factory):
    return [save(tmp_path_factory.mktemp("card") / "gray.png", np.full((80, 80, 3), 128, np.uint8))]


@pytest.mark.parametrize(
    ("name", "sigma", "cache_bytes"),
    [("denoise", "25", CACHED), ("denoise", "12.5", STREAMED), ("denoise-gray", "12.5", CACHED)],
)
def test_noise_has_the_level_and_is_new_in_every_patch(gray_card, name, sigma, cache_bytes):
    parts = [x for x, _ in batches(gray_card, spec_of(name, sigma, size=64), 4, 8, cache_bytes=cache_bytes)]
    noise = np.concatenate(parts).reshape(32, -1) * 255 - 128
    assert noise.std(axis=1) == pytest.approx(np.full(32, float(sigma)), rel=0.04)
    assert noise.std() == pytest.approx(float(sigma), rel=0.01)
    assert np.abs(np.corrcoef(noise) - np.eye(32)).max() < 0.08  # five standard errors of 4,096 values


@pytest.mark.parametrize(("name", "cache_bytes"), [("denoise", STREAMED), ("denoise-gray", CACHED)])
def test_a_range_of_noise_levels_is_covered_and_told(gray_card, name, cache_bytes):
    spec = spec_of(name, "5-30", size=64)
    assert spec.conditional
    noise, levels = [], []
    for x, _ in batches(gray_card, spec, 12, 8, cache_bytes=cache_bytes):
        noise.append(x["image"].reshape(8, -1) * 255 - 128)
        levels.append(x["level"] * 255)
    noise, levels = np.concatenate(noise), np.concatenate(levels)
    measured = np.sqrt(noise.var(axis=1) - 1 / 12)  # without the variance of rounding
    assert measured == pytest.approx(levels, rel=0.05)
    assert np.mean(measured / levels) == pytest.approx(1, abs=0.003)  # three standard errors
    assert 5 <= levels.min() < 7
    assert 28 < levels.max() <= 30
    assert np.abs(levels - np.rint(levels)).max() > 0.4  # any number in between
    assert np.histogram(levels, 5, (5, 30))[0].min() >= 8


def pillow_jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
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
    ("name", "level", "expected"),
    [
        ("denoise", "50", False),
        ("denoise", "0-75", True),
        ("denoise-gray", "1-2", True),
        ("demosaic", None, False),
        ("jpeg", "5-60", False),
        ("sr", "3", False),
    ],
)
def test_the_network_is_told_the_level_only_of_a_range_of_noise(name, level, expected):
    assert spec_of(name, level).conditional is expected


# === The same whatever happens ===


@MODES
@pytest.mark.parametrize("parallel", [1, 4])
def test_patches_do_not_depend_on_parallelism(photos, cache_bytes, parallel, monkeypatch):
    spec = spec_of("denoise", "0-75")
    expected = batches(photos, spec, 40, cache_bytes=cache_bytes)
    monkeypatch.setattr(tf.data, "AUTOTUNE", parallel)
    assert_same(batches(photos, spec, 40, cache_bytes=cache_bytes), expected)


@MODES
def test_a_seed_decides(photos, cache_bytes):
    first, again, other = (
        batches(photos, spec_of("denoise", seed=seed), 4, cache_bytes=cache_bytes) for seed in (SEED, SEED, SEED + 1)
    )
    assert_same(first, again)
    one, two = (np.concatenate([clean for _, clean in result]) for result in (first, other))
    assert len({patch.tobytes() for patch in (*one, *two)}) == 32


@MODES
@pytest.mark.parametrize(("name", "level"), [("denoise", "0-75"), ("sr", "2")])
def test_a_resumed_run_goes_on_exactly(photos, name, level, cache_bytes):
    spec = spec_of(name, level)
    uninterrupted = batches(photos, spec, 2 * PATCHES_PER_DECODE + 20, batch_size=3, cache_bytes=cache_bytes)
    for step in (1, PATCHES_PER_DECODE - 1, PATCHES_PER_DECODE, PATCHES_PER_DECODE + 5):
        resumed = batches(photos, spec, 20, batch_size=3, first_step=step, cache_bytes=cache_bytes)
        assert_same(resumed, uninterrupted[step : step + 20])


def test_a_resumed_run_may_be_far_along(photos):
    spec = spec_of("denoise", "0-75")
    step = 3 * 10**9  # beyond 32 bits
    for cache_bytes in (CACHED, STREAMED):
        first, second = batches(photos, spec, 2, first_step=step, cache_bytes=cache_bytes)
        assert_same(batches(photos, spec, 1, first_step=step + 1, cache_bytes=cache_bytes), [second])
        assert not np.array_equal(first[1], second[1])


def test_cached_patches_do_not_depend_on_the_batch_size(photos):
    spec = spec_of("denoise", "0-75")
    small, large = (batches(photos, spec, 24 // size, size) for size in (3, 8))
    for get in (lambda b: b[0]["image"], lambda b: b[0]["level"], lambda b: b[1]):
        np.testing.assert_array_equal(np.concatenate([*map(get, small)]), np.concatenate([*map(get, large)]))


def test_a_streamed_batch_has_a_patch_of_each_of_its_images(maps):
    """And an image gives `PATCHES_PER_DECODE` patches in a row of batches, all different."""
    patches = clean_patches(maps, spec_of("denoise"), 5 * PATCHES_PER_DECODE * 2, STREAMED, batch_size=5)
    places = [locate(patch) for patch in patches]
    numbers = np.array([number for number, *_ in places]).reshape(2, PATCHES_PER_DECODE, 5)
    assert (numbers == numbers[:, :1]).all()
    assert (numbers[0, 0] != numbers[1, 0]).any()
    assert len(set(places)) > 0.95 * len(places)


# === Memory ===


def test_images_are_decoded_once_or_as_needed(photos, monkeypatch):
    reads = []

    def counted(path, *args):
        reads.append(path)
        return read_clean(path, *args)

    monkeypatch.setattr(data, "read_clean", counted)
    size = sum(read_clean(file, TASKS["denoise"]).nbytes for file in photos)
    dataset = patch_batches(photos, spec_of("denoise"), 4, cache_bytes=size)
    next(iter(dataset.skip(30)))
    assert reads == photos
    reads.clear()
    dataset = patch_batches(photos, spec_of("denoise"), 4, cache_bytes=size - 1)
    assert reads == photos
    next(iter(dataset.skip(4 * PATCHES_PER_DECODE)))
    assert len(reads) >= len(photos) + 5 * 4
    reads.clear()
    patch_batches(photos, spec_of("denoise"), 4, cache_bytes=0)
    assert reads == photos[:1]


STREAM = """
import json, os
from pathlib import Path
import numpy as np
from rnan_tf import data
from rnan_tf.tasks import TASKS

reads = 0

def read(path, task, level):
    global reads
    reads += 1
    return np.full((2000, 2000, 3), reads, np.uint8)  # 12 MB

data.read_clean, data.list_images = read, list
FILES = [Path(f"{number}.png") for number in range(50)]

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def run(steps):
    spec = data.PatchSpec(TASKS["demosaic"], (0, 0), 16, 0)
    largest = 0
    for step, _ in zip(range(steps), data.patch_batches(FILES, spec, 4, cache_bytes=0)):
        if step % 8 == 0:
            largest = max(largest, megabytes())
    return largest

before = run(1)  # TensorFlow's own
largest = run(16 * 25)
print(json.dumps([reads, largest - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc/self/statm")
def test_streamed_images_are_forgotten(run_python):
    reads, megabytes = run_python(STREAM)
    assert reads >= 100  # 1,200 MB went through
    # Three times the batch of four are decoded at a time; half as many again for what the allocator keeps.
    assert megabytes < 12 * 3 * 4 * 1.5


# === Files that cannot be used ===


def break_file(path):
    path.write_bytes(path.read_bytes()[:60] if path.exists() else b"no image")
    return path


@MODES
def test_unusable_images_are_named_and_skipped(tmp_path, capsys, cache_bytes):
    good = save(tmp_path / "good.png", skimage.data.astronaut()[:40, 200:250])
    files = [
        break_file(tmp_path / "text.jpg"),
        break_file(save(tmp_path / "cut.png", skimage.data.astronaut()[:50, :50])),
        save(tmp_path / "low.png", skimage.data.astronaut()[:31, :90]),
        save(tmp_path / "narrow.png", skimage.data.astronaut()[:90, :31]),
        tmp_path / "missing.png",
        good,
    ]
    good_clean = clean_patches([good], spec_of("denoise", size=32), 16, cache_bytes=CACHED)
    files = [file for file in files if file.exists()]
    capsys.readouterr()
    patches = clean_patches(files, spec_of("denoise", size=32), 16, cache_bytes)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("skipped: ") for line in lines)
    for name in ("text.jpg: ", "cut.png: ", "low.png is 90x31, smaller than 32x32", "narrow.png is 31x90, smaller"):
        assert any(f"{tmp_path}/{name}" in line for line in lines)
    if cache_bytes is CACHED:
        assert len(lines) == 4
        np.testing.assert_array_equal(patches, good_clean)
    windows = np.lib.stride_tricks.sliding_window_view(read_clean(good, TASKS["denoise"]), (32, 32), axis=(0, 1))
    known = {windows[y, x].tobytes() for y in range(9) for x in range(19)}
    for patch in patches:
        assert known & {np.moveaxis(turned(patch, o), 2, 0).tobytes() for o in range(8)}


def test_a_file_damaged_while_streaming_is_skipped(maps, tmp_path, capsys):
    files = [tmp_path / file.name for file in maps]
    for file, original in zip(files, maps, strict=True):
        file.write_bytes(original.read_bytes())
    dataset = patch_batches(files, spec_of("denoise"), 4, cache_bytes=STREAMED)
    break_file(files[0])
    files[2].unlink()
    assert capsys.readouterr().err == ""
    patches = np.concatenate([clean for _, clean in itertools.islice(dataset.as_numpy_iterator(), 20)])
    numbers = {locate(np.rint(patch * 255).astype(np.uint8))[0] for patch in patches}
    assert numbers == {1}
    error = capsys.readouterr().err
    assert f"skipped: {files[0]}: " in error
    assert f"skipped: {files[2]}: no such file" in error


def test_streaming_ends_when_every_file_is_damaged(maps, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(maps[0].read_bytes())
    dataset = patch_batches([file], spec_of("denoise"), 4, cache_bytes=STREAMED)
    break_file(file)
    with pytest.raises(tf.errors.InvalidArgumentError, match="none of 1 images can be used"):
        next(iter(dataset))


@MODES
@pytest.mark.parametrize(("name", "level", "least"), [("denoise", None, 48), ("sr", "2", 96), ("sr", "4", 192)])
def test_a_folder_without_a_usable_image_is_named(tmp_path, name, level, least, cache_bytes):
    side = least - 1
    files = [
        save(tmp_path / "small.png", skimage.data.astronaut()[: side + 40, :side]),
        break_file(tmp_path / "broken.png"),
    ]
    expected = f"{tmp_path}: none of 2 images can be used; each must be readable and at least {least}x{least}"
    with pytest.raises(InputError) as caught:
        patch_batches(files, spec_of(name, level, size=48), 4, cache_bytes=cache_bytes)
    assert str(caught.value) == expected


# === Reading ===


def test_read_images_of_a_folder(photos):
    images = read_images([photos[0].parent], TASKS["denoise"])
    assert [name for name, _ in images] == [file.name for file in photos]
    for (_, pixels), file in zip(images, photos, strict=True):
        np.testing.assert_array_equal(pixels, read_clean(file, TASKS["denoise"]))
    large = read_images([photos[0].parent], TASKS["denoise"], min_size=100)
    assert [name for name, _ in large] == ["chelsea.png", "coffee.jpg"]
    assert read_images(photos, TASKS["denoise"], max_bytes=10_000) is None
    with pytest.raises(ImageError, match="no image found"):
        read_images([photos[0].parent.parent / "*.png", photos[0].parent], TASKS["denoise"])


@pytest.mark.parametrize(("scale", "size"), [("2", (80, 98)), ("3", (81, 99)), ("4", (80, 96))])
def test_read_images_crops_for_sr(photos, scale, size):
    ((_, pixels),) = read_images([photos[1]], TASKS["sr"], int(scale))
    assert pixels.shape == (*size, 3)


@pytest.mark.parametrize("name", TASKS)
def test_any_kind_of_photograph_fits_any_task(tmp_path, name):
    rgb = skimage.data.astronaut()[:60, 180:240]
    gray = skimage.data.camera()[100:160, 200:260]
    task = TASKS[name]
    fine = np.random.default_rng(0).integers(-128, 129, rgb.shape)  # bits below the eighth; 257 per level
    deep = np.clip(rgb.astype(int) * 257 + fine, 0, 65535).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(tf.io.encode_png(deep).numpy())
    alpha = np.arange(3600, dtype=np.uint8).reshape(60, 60, 1)
    cases = {
        save(tmp_path / "rgb.png", rgb): rgb,
        save(tmp_path / "gray.png", gray): gray[..., None],
        save(tmp_path / "rgba.png", np.concatenate([rgb, alpha], axis=2)): rgb,
        save(tmp_path / "gray_alpha.png", np.concatenate([gray[..., None], alpha], axis=2)): gray[..., None],
        tmp_path / "deep.png": rgb,
    }
    for file, pixels in cases.items():
        clean = read_clean(file, task, task.default_level)
        assert clean.dtype == np.uint8
        np.testing.assert_array_equal(clean, task.clean(pixels, task.default_level))
    assert clean_patches(list(cases), spec_of(name, size=16), 8).shape[3] == task.channels


# === Several workers ===


@MODES
@pytest.mark.parametrize("first_step", [0, PATCHES_PER_DECODE + 3])
def test_the_parts_of_a_batch_are_the_batch(photos, cache_bytes, first_step):
    spec = spec_of("denoise", "0-75")
    whole = batches(photos, spec, 3, 6, first_step, cache_bytes)
    parts = [
        list(
            itertools.islice(patch_batches(photos, spec, 6, first_step, cache_bytes, (index, 3)).as_numpy_iterator(), 3)
        )
        for index in range(3)
    ]
    for step, batch in enumerate(whole):
        assert_same(tf.nest.map_structure(lambda *x: np.concatenate(x), *(part[step] for part in parts)), batch)
