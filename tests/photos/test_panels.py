"""rnan_tf.photos.panels and samples: pieces of real photographs beside each other."""

import numpy as np
import pytest
import skimage.data

from rnan_tf.photos.panels import CAPTION, side_by_side
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import NAMES, sample_photographs


@pytest.mark.parametrize(("corner", "y", "x"), [(None, 206, 206), ((3, 5), 3, 5)])
def test_the_same_square_of_each(corner, y, x):
    colour = skimage.data.astronaut()
    gray = colour[..., :1]
    panel = side_by_side({"before": gray, "after": colour}, 100, corner)
    assert panel.shape == (100 + CAPTION, 200, 3) and panel.dtype == np.uint8
    np.testing.assert_array_equal(panel[CAPTION:, :100], gray[y : y + 100, x : x + 100].repeat(3, axis=2))
    np.testing.assert_array_equal(panel[CAPTION:, 100:], colour[y : y + 100, x : x + 100])
    assert (panel[:CAPTION, :100] < 128).any() and (panel[:CAPTION, 100:] < 128).any()  # the names


def test_of_a_small_image_all_that_fits():
    assert side_by_side({"a": np.zeros((20, 30, 3), np.uint8)}, 100).shape == (20 + CAPTION, 20, 3)


def test_samples_are_there():
    assert [read_photo(file).pixels.shape[2] for file in sample_photographs()] == [3] * len(NAMES)
    assert sample_photographs("coffee.png")[0].is_file()
