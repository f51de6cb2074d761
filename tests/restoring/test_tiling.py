"""rnan_tf.restoring.tiling: what happens at the edges of tiles, and strengths that differ over the photograph."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from rnan_tf.errors import InputError, JobError
from rnan_tf.network.model import RNAN
from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import MULTIPLE, Tiling, asked_tiling, restore, self_ensemble
from rnan_tf.tasks.task import get_task
from tests.helpers.tiles import photo, symmetric_blur

SIZES = [(1, 1), (1, 7), (2, 2), (3, 130), (16, 17), (61, 5), (127, 129), (101, 333)]


def smooth_photo(height, width, dtype=np.uint16):
    y, x = np.mgrid[:height, :width] / 97
    planes = [0.5 + 0.2 * np.sin(y + i) + 0.2 * np.cos(1.3 * x - i) for i in range(3)]
    return np.rint(np.stack(planes, axis=-1) * np.iinfo(dtype).max).astype(dtype)


def random_model(**kwargs):
    """A network whose non-local blocks have an effect, which they do not as initialised."""
    card = ModelCard.of_task(get_task("denoise"), (0, 75), kwargs.get("conditional", False))
    model = RNAN(filters=8, num_blocks=2, metadata=card.to_dict(), **kwargs)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(2 * fan_in))
    return model


def largest_step(image):
    """The largest difference between neighbouring pixels."""
    return max(np.abs(np.diff(image.astype(float), axis=axis)).max() for axis in (0, 1))


class TestTiling:
    @pytest.mark.parametrize("tile, overlap", [(16, 0), (16, 8), (128, 16), (128, 64), (100, 48)])
    def test_good(self, tile, overlap):
        assert Tiling(tile, overlap).tile == tile

    @pytest.mark.parametrize(
        "tile, overlap, flag",
        [
            *((0, 0, "tile"), (-128, 0, "tile"), (12, 0, "tile"), (130, 16, "tile")),
            *((128, -4, "overlap"), (128, 68, "overlap"), (128, 15, "overlap"), (16, 12, "overlap")),
        ],
    )
    def test_out_of_range(self, tile, overlap, flag):
        with pytest.raises(InputError, match=rf"^`{flag}` must be a multiple of 4.*got {locals()[flag]}"):
            Tiling(tile, overlap)

    def test_what_was_not_asked_for_is_the_default(self):
        default = Tiling()
        assert asked_tiling() == default == Tiling(96, 12)
        assert asked_tiling(64) == Tiling(64, 12) and asked_tiling(None, 0) == Tiling(96, 0)
        assert asked_tiling(64, default=Tiling(96, 16, fixed=True)) == Tiling(64, 16, fixed=True)
        with pytest.raises(InputError, match=r"^`overlap` must be a multiple of 4"):
            asked_tiling(16)  # too small for the default overlap


class TestRestore:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("tiling", [(16, 0), (16, 8), (32, 4), (128, 16)])
    def test_doing_nothing_gives_the_image_back(self, size, tiling):
        for dtype, channels in ((np.uint8, 3), (np.uint16, 1)):
            image = photo(*size, channels, dtype)
            restored = restore(lambda batch: batch, image, tiling=Tiling(*tiling))
            assert restored.dtype == dtype
            np.testing.assert_array_equal(restored, image)

    @pytest.mark.parametrize("scale", [2, 3])
    @pytest.mark.parametrize("size", SIZES)
    def test_enlarging(self, size, scale):
        image = photo(*size)
        restored = restore(lambda batch: batch.repeat(scale, 1).repeat(scale, 2), image, scale, Tiling(32, 8))
        np.testing.assert_array_equal(restored, image.repeat(scale, 0).repeat(scale, 1))

    @pytest.mark.parametrize("size, tile, overlap", [(512, 128, 16), (768, 128, 16), (132, 128, 16), (321, 64, 0)])
    def test_tiles_are_few_equal_and_in_phase(self, size, tile, overlap):
        image = np.arange(size, dtype=np.uint16).reshape(1, size, 1).repeat(3, axis=2)
        starts, widths = [], []

        def predict(batch):
            starts.append(round(float(batch[0, 0, 0, 0]) * 65535))
            widths.append(batch.shape[2])
            return batch

        restore(predict, image, tiling=Tiling(tile, overlap))
        assert all(start % MULTIPLE == 0 for start in starts)
        assert len(set(widths)) == 1 and widths[0] <= tile and widths[0] % MULTIPLE == 0
        assert len(widths) == int(np.ceil((size - overlap) / (tile - overlap)))
        # Equal tiles: no more than the rounding to MULTIPLE is computed twice beyond the overlap.
        assert sum(widths) <= size + (len(widths) - 1) * overlap + MULTIPLE * (len(widths) + 1)

    def test_beyond_the_image_its_reflection_goes_on(self):
        image, seen = photo(5, 6), []
        restore(lambda batch: seen.append(batch[0]) or batch, image)
        np.testing.assert_array_equal(seen[0], np.pad(to_float(image), ((0, 3), (0, 2), (0, 0)), mode="reflect"))

    def test_values_are_clipped_and_rounded_once(self):
        image = np.full((40, 40, 1), 100, np.uint8)
        for value, expected in ((-0.5, 0), (1.7, 255), (100.49 / 255, 100), (100.51 / 255, 101)):
            restored = restore(lambda batch, value=value: np.full_like(batch, value), image, tiling=Tiling(16, 8))
            np.testing.assert_array_equal(restored, expected)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_broken_network_is_named(self, value):
        with pytest.raises(JobError, match="not finite; the model or its weights are broken"):
            restore(lambda batch: batch + value, photo(20, 20))


class TestSeams:
    def test_errors_near_a_tiles_border_do_not_reach_the_image(self):
        overlap, image = 16, smooth_photo(150, 170)

        def predict(batch):
            wrong = batch + 0.3
            inside = slice(overlap // 4, -overlap // 4)
            wrong[:, inside, inside] = batch[:, inside, inside]
            return wrong

        restored = restore(predict, image, tiling=Tiling(64, overlap))
        inside = slice(overlap // 4, -overlap // 4 - MULTIPLE)  # of the image's own border there is one tile only
        assert np.abs(restored[inside, inside].astype(int) - image[inside, inside]).max() <= 1
        assert np.abs(restored[:4].astype(int) - image[:4]).max() > 10_000

    @pytest.mark.parametrize("overlap, bound", [(8, 1 / 4), (16, 1 / 8), (24, 1 / 12)])
    def test_tiles_of_different_brightness_blend(self, overlap, bound):
        """Neighbouring tiles differ by up to 0.2; the step must be spread over half the overlap."""
        image = np.full((140, 260, 1), 30000, np.uint16)

        def steps(overlap):
            numbers = itertools.count()
            tiling = Tiling(64, overlap)
            restored = restore(lambda batch: batch + 0.2 * (next(numbers) * 7 % 5 % 2), image, tiling=tiling)
            return largest_step(restored)

        assert steps(0) >= 0.2 * 65535 - 1
        assert steps(overlap) <= 1.01 * bound * 0.2 * 65535 + 1

    @pytest.mark.parametrize("space_to_depth", [1, 2])
    def test_a_network_leaves_no_visible_seam(self, space_to_depth):
        """Tiles change what attention sees; the difference to the whole image must not jump at their edges."""
        model, image = random_model(space_to_depth=space_to_depth), smooth_photo(64, 84)
        predict, batch = KerasRuntime(model).run, to_float(image)[None]
        for variable in model.get_layer("tail").weights:  # a change of 5 levels, as a trained network makes
            variable.assign(variable * 0.02 / np.std(predict(batch) - batch))
        whole = restore(predict, image, tiling=Tiling(84, 0)) / 257

        def steps(tiling):
            return largest_step(restore(predict, image, tiling=tiling) / 257 - whole)

        hard, feathered = steps(Tiling(48, 0)), steps(Tiling(48, 24))
        assert feathered < 1 < 8 * feathered < hard


def test_large_images_take_no_memory_but_their_own():
    """50 Mpixel; the predictor is cheap, the bookkeeping is what is measured."""
    image = np.zeros((6144, 8192, 1), np.uint8)
    image[::512] = 200
    tracemalloc.start()
    try:
        restored = restore(lambda batch: batch, image, tiling=Tiling(1024, 16))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(restored[:, ::97], image[:, ::97])
    rows = 1024 * 8192 * 4
    assert restored.nbytes < peak < restored.nbytes + 6 * rows  # 50 MB and some rows of tiles; 200 MB as float32


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_tiles_may_be_restored_together(batch):
    image, sizes = photo(100, 150), []

    def predict(tiles):
        sizes.append(len(tiles))
        return symmetric_blur(tiles)

    expected = restore(symmetric_blur, image, tiling=Tiling(32, 8))
    restored = restore(predict, image, tiling=Tiling(32, 8, batch=batch))
    np.testing.assert_array_equal(restored, expected)
    assert sum(sizes) == 24 and set(sizes[:-1]) <= {batch}  # four rows of six tiles: all batches but the last are full


def test_progress_is_told_every_tile_and_can_end_it():
    told = []
    restore(lambda batch: batch, photo(40, 40), tiling=Tiling(16, 0), progress=lambda *counts: told.append(counts))
    assert told == [(i, 9) for i in range(1, 10)]

    class Enough(Exception):
        pass

    def cancel(done, total):
        if done == 4:
            raise Enough

    with pytest.raises(Enough):
        restore(lambda batch: batch, photo(40, 40), tiling=Tiling(16, 0), progress=cancel)


def painted(batch, strengths):
    """Tiles in the gray of their strength."""
    return np.broadcast_to(strengths[:, None, None, None].astype(np.float32) / 255, batch.shape)


class TestStrengths:
    def test_each_tile_is_told_that_of_its_middle(self):
        """Between the middles of the parts they change linearly: scipy's is the oracle."""
        strengths = np.array([[10.0, 50, 90], [30, 70, 250]])
        told = []
        restore(lambda batch, each: told.extend(each) or batch, photo(64, 160), 1, Tiling(32, 0), strengths=strengths)
        y, x = (np.arange(count) * 32.0 + 16 for count in (2, 5))
        places = np.meshgrid(y / 64 * 2 - 0.5, x / 160 * 3 - 0.5, indexing="ij")
        expected = ndimage.map_coordinates(strengths, places, order=1, mode="nearest")
        np.testing.assert_allclose(np.reshape(told, (2, 5)), expected)

    def test_equal_ones_are_as_good_as_one(self):
        told = restore(painted, photo(61, 133), 1, Tiling(32, 8, batch=3), strengths=np.full((4, 7), 100.0))
        assert (told == 100).all()

    @pytest.mark.parametrize("size", [(5, 200), (70, 33)])
    def test_the_tiles_of_a_gradient_are_feathered_together(self, size):
        """The step between two tiles is spread over half the overlap, four pixels here."""
        strengths, told = np.linspace(0, 255, 8)[None].repeat(2, axis=0), []

        def predict(batch, each):
            told.extend(each)
            return painted(batch, each)

        result = restore(predict, photo(*size), 1, Tiling(16, 8), strengths=strengths)
        step = np.diff(np.unique(told)).max()
        assert result.shape == (*size, 3) and step > 10
        assert largest_step(result) <= step / 4 + 1  # and the rounding

    def test_the_middle_is_that_of_what_is_in_the_image(self):
        result = restore(painted, photo(2, 2), 1, Tiling(16, 8, fixed=True), strengths=np.array([[20.0, 220]]))
        assert (result == 120).all()

    def test_the_self_ensemble_is_told_them(self):
        strengths = np.array([[20.0, 200]])
        once = restore(painted, photo(16, 64), 1, Tiling(16, 8), strengths=strengths)
        np.testing.assert_array_equal(
            restore(self_ensemble(painted), photo(16, 64), 1, Tiling(16, 8), strengths=strengths), once
        )
