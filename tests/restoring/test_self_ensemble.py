"""rnan_tf.restoring.tiling: the self-ensemble."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.tiling import Tiling, restore, self_ensemble
from tests.helpers.tiles import photo, symmetric_blur


def mosaic(image):
    """A GRBG mosaic; independent of rnan_tf.tasks.degradations."""
    result = np.zeros_like(image)
    for y, x, channel in ((0, 0, 1), (0, 1, 0), (1, 0, 2), (1, 1, 1)):
        result[..., y::2, x::2, channel] = image[..., y::2, x::2, channel]
    return result


def bilinear_demosaic(batch):
    red_blue = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])[None] / 4
    green = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]])[None] / 4
    planes = [
        ndimage.convolve(batch[..., i], kernel, mode="mirror") for i, kernel in enumerate((red_blue, green, red_blue))
    ]
    return np.stack(planes, axis=-1)


class TestSelfEnsemble:
    def test_all_eight_and_no_other(self):
        batch, seen = to_float(photo(6, 9))[None], set()
        self_ensemble(lambda x: seen.add((x.shape, x.tobytes())) or x)(batch)
        turns = [np.rot90(x, k, axes=(1, 2)) for x in (batch, batch[:, ::-1]) for k in range(4)]
        assert seen == {(x.shape, np.ascontiguousarray(x).tobytes()) for x in turns}

    def test_is_the_mean_of_the_turned_back_results(self):
        def predict(x):  # neither symmetric nor linear
            return x**2 * np.linspace(0.5, 1, x.shape[2], dtype=np.float32)[:, None] + x[:, :, :1]

        batch = to_float(photo(6, 9))[None]
        turned_back = [np.rot90(predict(np.rot90(batch, k, axes=(1, 2))), -k, axes=(1, 2)) for k in range(4)]
        mirrored = [np.rot90(predict(np.rot90(batch[:, ::-1], k, axes=(1, 2))), -k, axes=(1, 2)) for k in range(4)]
        expected = (sum(turned_back) + sum(x[:, ::-1] for x in mirrored)) / 8
        np.testing.assert_allclose(self_ensemble(predict)(batch), expected, rtol=1e-5)

    def test_sums_in_float32(self):
        """As it always has: sums in float64 would round some pixels the other way."""
        batch, seen = to_float(photo(6, 8))[None], []

        def predict(x):
            seen.append(x**3)
            return seen[-1]

        result = self_ensemble(predict)(batch)
        turns = itertools.product((1, -1), (1, -1), (False, True))
        total = np.float32(0)
        for y, (flip_y, flip_x, transpose) in zip(seen, turns, strict=True):
            total = total + (y.swapaxes(1, 2) if transpose else y)[:, ::flip_y, ::flip_x]
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, total / 8)

    @pytest.mark.parametrize("predict", [symmetric_blur, lambda x: x.repeat(2, 1).repeat(2, 2)])
    def test_changes_nothing_where_turns_do_not_matter(self, predict):
        batch = to_float(photo(7, 12))[None]
        np.testing.assert_allclose(self_ensemble(predict)(batch), predict(batch), atol=1e-6)

    @pytest.mark.parametrize("size", [(8, 12), (9, 12), (8, 13), (9, 13), (2, 3)])
    def test_mosaics_keep_their_phase(self, size):
        batch, calls = mosaic(to_float(photo(*size))[None] + 0.1), []

        def predict(x):
            np.testing.assert_array_equal(x, mosaic(x), err_msg="not a GRBG mosaic")
            assert np.all(x.sum(axis=-1) > 0)
            calls.append(x)
            return bilinear_demosaic(x)

        ensemble = self_ensemble(predict, is_mosaic=True)(batch)
        assert len(calls) == 8 and len({(x.shape, x.tobytes()) for x in calls}) == 8
        np.testing.assert_allclose(ensemble, bilinear_demosaic(batch), atol=1e-6)

    def test_a_mosaic_through_tiles(self):
        image = mosaic(photo(75, 90))
        predict = self_ensemble(bilinear_demosaic, is_mosaic=True)
        restored, expected = restore(predict, image, tiling=Tiling(32, 8)), bilinear_demosaic(to_float(image)[None])[0]
        np.testing.assert_allclose(restored / 255, expected, atol=0.501 / 255)
