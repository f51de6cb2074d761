"""Runtimes whose files take tiles of one size only."""

import numpy as np
import pytest

from rnan_tf.errors import InputError
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes.runtime import count_cores
from rnan_tf.restoring.tiling import Tiling, restore, self_ensemble
from tests.restoring.runtimes.conftest import OVERLAP, TILE, batch_of, pixels_of


@pytest.mark.parametrize("height, width", [(1, 1), (3, 16), (11, 14)])
def test_smaller_tiles_are_reflected_and_cropped(opened, height, width):
    model, runtime = opened["tflite"]
    batch = batch_of(2, height, width, 3)
    padded = np.pad(batch, ((0, 0), (0, TILE - height), (0, TILE - width), (0, 0)), mode="reflect")
    expected = model.run(padded, 25)[:, :height, :width]
    assert np.abs(runtime.run(batch, 25) - expected).max() < 1e-5


def test_larger_tiles_are_refused(opened):
    with pytest.raises(InputError, match=r"model.tflite: takes tiles of up to 20x20, not 16x24$"):
        opened["tflite"][1].run(batch_of(1, 16, 24, 3))


def test_a_margin_leaves_room_for_added_rows(opened):
    """The self-ensemble of a mosaic puts a row and a column around each tile."""
    runtime, pixels, seen = opened["tflite"][1], pixels_of(20, 20, 3), []

    def predict(batch):
        seen.append(batch.shape[1:3])
        return runtime.run(batch)

    restorer = Restorer(runtime)
    fixed = Tiling(TILE, OVERLAP, fixed=True, batch=4 * count_cores())
    assert restorer.tiling(margin=True) == fixed  # no mosaic: no row is added
    restorer.task = type(restorer.task)("demosaic", "mosaic", mosaic=True)
    tiling = restorer.tiling(margin=True)
    assert restore(self_ensemble(predict, is_mosaic=True), pixels, 1, tiling).shape == pixels.shape
    assert max(max(shape) for shape in seen) == TILE - 4 + 1


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (17, 33), (61, 90)])
@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_fixed_tiles_have_exactly_the_tiles_size(size, overlap):
    pixels = np.random.default_rng(0).integers(0, 2**16, (*size, 3), dtype=np.uint16)

    def predict(batch):
        assert batch.shape == (1, 16, 16, 3)
        return batch

    assert np.array_equal(restore(predict, pixels, 1, Tiling(16, overlap, fixed=True)), pixels)


def test_fixed_tiles_enlarge():
    pixels = pixels_of(21, 5, 3)
    restored = restore(lambda batch: batch.repeat(2, 1).repeat(2, 2), pixels, 2, Tiling(16, 4, fixed=True))
    assert np.array_equal(restored, pixels.repeat(2, 0).repeat(2, 1))
