"""rnan_tf.training.patches cut from the user's own pairs: both patches show the same place, turned alike."""

import dataclasses

import numpy as np
import pytest
import skimage.data

from rnan_tf.errors import InputError
from rnan_tf.tasks.pairs import Pair, list_pairs
from rnan_tf.training.patches import patch_batches
from tests.helpers.patches import CACHED, MODES, STREAMED, batches, save, spec_of

PHOTOS = skimage.data.chelsea()[:90, 40:170], skimage.data.coffee()[100:172, :200], skimage.data.astronaut()[:60, :64]


def blocks(pixels, scale):
    """A degraded photograph that turns and flips as the clean one does: the mean of each block, inverted."""
    height, width = (size // scale for size in pixels.shape[:2])
    cells = pixels[: height * scale, : width * scale].reshape(height, scale, width, scale, -1)
    return 255 - np.floor(cells.mean(axis=(1, 3))).astype(np.uint8)


@pytest.fixture
def pairs(tmp_path, request):
    scale = getattr(request, "param", 1)
    for name in ("degraded", "clean"):
        (tmp_path / name).mkdir()
    for number, photo in enumerate(PHOTOS):
        save(tmp_path / "clean" / f"{number}.png", photo)
        save(tmp_path / "degraded" / f"{number}.png", blocks(photo, scale))
    return list_pairs(tmp_path / "degraded", tmp_path / "clean")


def paired(name, size=16):
    spec = spec_of(name, size=size)
    return dataclasses.replace(spec, task=spec.task.of_pairs(), paired=True)


def as_pixels(images):
    return np.rint(images * 255).astype(np.uint8)


@MODES
@pytest.mark.parametrize(
    ("name", "scale", "pairs"), [("denoise", 1, 1), ("sr-x2", 2, 2), ("sr-x3", 3, 3)], indirect=["pairs"]
)
@pytest.mark.parametrize("busiest_of", [1, 3])
def test_both_patches_show_the_same_place(pairs, cache_bytes, name, scale, busiest_of):
    spec = dataclasses.replace(paired(name), busiest_of=busiest_of)
    found = batches(pairs, spec, 6, batch_size=4, cache_bytes=cache_bytes)
    for degraded, clean in found:
        assert degraded.shape == (4, 16, 16, 3) and clean.shape == (4, 16 * scale, 16 * scale, 3)
        for one, other in zip(as_pixels(degraded), as_pixels(clean), strict=True):
            np.testing.assert_array_equal(one, blocks(other, scale))
    assert len({patch.tobytes() for _, clean in found for patch in as_pixels(clean)}) > 15


@MODES
def test_the_clean_patches_are_crops_in_all_orientations(pairs, cache_bytes):
    windows = set()
    for photo in PHOTOS:
        view = np.lib.stride_tricks.sliding_window_view(photo, (16, 16), axis=(0, 1))
        windows.update(np.ascontiguousarray(view[y, x]).tobytes() for y, x in np.ndindex(view.shape[:2]))
    orientations = set()
    for _, clean in batches(pairs, paired("denoise"), 16, batch_size=4, cache_bytes=cache_bytes):
        for patch in as_pixels(clean):
            for number in range(8):
                turned = np.rot90(patch, number % 4)
                turned = turned[:, ::-1] if number >= 4 else turned
                if np.ascontiguousarray(np.moveaxis(turned, 2, 0)).tobytes() in windows:
                    orientations.add(number)
                    break
            else:
                pytest.fail("a patch that is no crop")
    assert len(orientations) == 8


@MODES
def test_a_run_that_goes_on_sees_the_same_pairs(pairs, cache_bytes):
    spec = paired("denoise")
    whole = batches(pairs, spec, 6, cache_bytes=cache_bytes)
    rest = batches(pairs, spec, 3, first_step=3, cache_bytes=cache_bytes)
    for (one, two), (three, four) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one, three)
        np.testing.assert_array_equal(two, four)


def test_the_network_is_not_told_a_strength(pairs):
    spec = paired("jpeg-color")
    assert not spec.conditional
    assert isinstance(batches(pairs, spec, 1)[0][0], np.ndarray)


@pytest.mark.parametrize("cache_bytes", [CACHED, STREAMED])
def test_a_damaged_pair_is_skipped(pairs, tmp_path, capsys, cache_bytes):
    (tmp_path / "degraded" / "0.png").write_bytes(b"no image")
    gone = Pair(tmp_path / "degraded" / "gone.png", tmp_path / "clean" / "gone.png")
    for degraded, clean in batches([gone, *pairs], paired("denoise"), 2, cache_bytes=cache_bytes):
        np.testing.assert_array_equal(as_pixels(degraded), 255 - as_pixels(clean))
    assert "0.png" in capsys.readouterr().err
    with pytest.raises((InputError, Exception), match="pairs can be used"):
        batches([gone], paired("denoise"), 1, cache_bytes=cache_bytes)


@MODES
def test_the_parts_of_a_batch_are_the_batch(pairs, cache_bytes):
    """Which several workers make, each its own."""
    spec = paired("denoise")
    whole = batches(pairs, spec, 2, cache_bytes=cache_bytes)
    parts = [
        list(patch_batches(pairs, spec, 4, 0, cache_bytes, part=(index, 2)).take(2).as_numpy_iterator())
        for index in range(2)
    ]
    for step, (degraded, clean) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), degraded)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), clean)
