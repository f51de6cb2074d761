"""rnan_tf.training.patches and its files: how many are held in memory, which cannot be used, and how they are read."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import ImageError
from rnan_tf.tasks import clean_images
from rnan_tf.tasks.clean_images import read_clean, read_images
from rnan_tf.tasks.task import TASKS
from rnan_tf.training.patches import PATCHES_PER_DECODE, patch_batches
from tests.helpers.patches import CACHED, MODES, STREAMED, clean_patches, locate, save, spec_of, turned

# === Memory ===


def test_images_are_decoded_once_or_as_needed(photos, monkeypatch):
    reads = []

    def counted(path, *args):
        reads.append(path)
        return read_clean(path, *args)

    monkeypatch.setattr(clean_images, "read_clean", counted)
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
from rnan_tf.tasks import clean_images
from rnan_tf.tasks.task import TASKS
from rnan_tf.training import patches as data

reads = 0

def read(path, task):
    global reads
    reads += 1
    return np.full((2000, 2000, 3), reads, np.uint8)  # 12 MB

clean_images.read_clean, clean_images.list_images = read, list
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
    # What is freed goes back at once: glibc otherwise keeps pieces of this size for later, on a busy machine 200 MB.
    reads, megabytes = run_python(STREAM, MALLOC_MMAP_THRESHOLD_="1000000")
    assert reads >= 100  # 1,200 MB went through
    assert megabytes < 12 * 3 * 4  # three times the batch of four are decoded at a time


@MODES
def test_nobody_waits_for_data_that_are_given_up(photos, cache_bytes):
    # The wait of up to a minute came in one of twenty times, where one core had to do everything.
    assert patch_batches(photos, spec_of("denoise"), 4, cache_bytes=cache_bytes).options().autotune.enabled is False


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
@pytest.mark.parametrize(("name", "least"), [("denoise", 48), ("sr-x2", 96), ("sr-x4", 192)])
def test_a_folder_without_a_usable_image_is_named(tmp_path, name, least, cache_bytes):
    side = least - 1
    files = [
        save(tmp_path / "small.png", skimage.data.astronaut()[: side + 40, :side]),
        break_file(tmp_path / "broken.png"),
    ]
    expected = f"{tmp_path}: none of 2 images can be used; each must be readable and at least {least}x{least}"
    with pytest.raises(InputError) as caught:
        patch_batches(files, spec_of(name, size=48), 4, cache_bytes=cache_bytes)
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


@pytest.mark.parametrize(("scale", "size"), [(2, (80, 98)), (3, (81, 99)), (4, (80, 96))])
def test_read_images_crops_for_sr(photos, scale, size):
    ((_, pixels),) = read_images([photos[1]], TASKS[f"sr-x{scale}"])
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
        clean = read_clean(file, task)
        assert clean.dtype == np.uint8
        np.testing.assert_array_equal(clean, task.clean(pixels))
    assert clean_patches(list(cases), spec_of(name, size=12), 8).shape[3] == task.channels
