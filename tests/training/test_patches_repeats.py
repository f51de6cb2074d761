"""rnan_tf.training.patches: each patch is a function of (seed, number), whatever happens."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.training.patches import PATCHES_PER_DECODE, patch_batches
from tests.helpers.patches import CACHED, MODES, SEED, STREAMED, batches, clean_patches, locate, spec_of


def assert_same(a, b):
    tf.nest.assert_same_structure(a, b)
    assert len(tf.nest.flatten(a)) > 0
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(x, y)


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
@pytest.mark.parametrize(("name", "strengths", "busiest_of"), [("denoise", "0-75", 1), ("sr-x2", None, 3)])
def test_a_resumed_run_goes_on_exactly(photos, name, strengths, busiest_of, cache_bytes):
    spec = dataclasses.replace(spec_of(name, strengths), busiest_of=busiest_of)
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
