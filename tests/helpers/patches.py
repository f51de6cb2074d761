"""What the tests of rnan_tf.training.patches share: patches as arrays, and images that tell where a patch was cut."""

import itertools

import numpy as np
import pytest
from PIL import Image

from rnan_tf.tasks.task import TASKS
from rnan_tf.training.patches import PatchSpec, patch_batches

CACHED, STREAMED = None, 0
MODES = pytest.mark.parametrize("cache_bytes", [CACHED, STREAMED], ids=["cached", "streamed"])
SEED = 11


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def spec_of(name, strengths=None, size=16, seed=SEED):
    """The spec of a task's patches; `strengths` as in "0-75", None for the default."""
    task = TASKS[name]
    given = {task.strength.name: strengths} if task.strength else {}
    return PatchSpec(task, task.parse_strength(**given), size, seed)


def batches(files, spec, count, batch_size=4, first_step=0, cache_bytes=CACHED):
    """The first `count` batches as nested numpy arrays."""
    dataset = patch_batches(files, spec, batch_size, first_step, cache_bytes)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def clean_patches(files, spec, count, cache_bytes=CACHED, batch_size=8):
    """`count` clean patches as uint8."""
    parts = [clean for _, clean in batches(files, spec, -(-count // batch_size), batch_size, cache_bytes=cache_bytes)]
    return np.rint(np.concatenate(parts)[:count] * 255).astype(np.uint8)


def turned(patch, orientation):
    """One of the eight turns and flips."""
    patch = np.rot90(patch, orientation % 4)
    return patch[:, ::-1] if orientation >= 4 else patch


MAP_SIZES = [(60, 90), (33, 100), (41, 37)]


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
