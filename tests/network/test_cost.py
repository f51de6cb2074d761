"""rnan_tf.network.cost against counts by hand."""

from rnan_tf.network.cost import multiply_adds
from rnan_tf.network.model import RNAN


def test_multiply_adds_of_the_local_part():
    """By hand: what two more local blocks cost."""
    f, tile = 8, 32
    added = multiply_adds(RNAN(f, 4), tile) - multiply_adds(RNAN(f, 2), tile)
    full = 2 * f * f * 9  # a residual block at full resolution; at half it is a quarter
    trunk, mask = 2 * full, full + 9 * f * f / 4 + 2 * full / 4 + 36 * f * f / 4 + full + f * f
    assert added == 2 * (full + trunk + mask + 2 * full + 9 * f * f)


def test_multiply_adds_of_attention_grow_with_the_tile():
    f = 8
    small, large = (multiply_adds(RNAN(f, 2, chunk_size=16), tile) for tile in (16, 32))
    # Scores and weighted sum: 2 * f / 2 for each of N positions, in two blocks. All else is the same a pixel.
    assert large - small == 2 * (2 * f / 2) * (32**2 - 16**2)
