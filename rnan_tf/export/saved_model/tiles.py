"""Tiles inside a TensorFlow graph: `rnan_tf.restoring.tiling.restore` for servers that run no Python."""

from collections.abc import Callable

import tensorflow as tf

from rnan_tf.restoring.tiling import MULTIPLE, Tiling


def restore_in_tiles(
    network: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor, scale: int, channels: int, tiling: Tiling
) -> tf.Tensor:
    """Restore one image tile after tile, so that the network's memory does not grow with the image.

    Args:
        network: maps a tile (1, h, w, C) float32 in [0, 1] to (1, scale * h, scale * w, channels) float32.
        image: (H, W, C) uint8, or float32 in [0, 1]; H and W from 1 up, known only when the graph runs.
        scale: how many times larger the network's output is.
        channels: of the network's output.
        tiling: tile size and overlap; tiles and their blending are those of `rnan_tf.restoring.tiling.restore`.

    Returns:
        (scale * H, scale * W, channels) float32, not clipped.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    rows, row_weights = _spans(height, tiling)
    columns, column_weights = _spans(width, tiling)

    def restore_band(row_and_weights):
        row, row_weight = row_and_weights
        band = tf.gather(image, _reflected(row, height))

        def restore_tile(column_and_weights):
            column, weight = column_and_weights
            tile = tf.gather(band, _reflected(column, width), axis=1)
            tile = tf.cast(tile, tf.float32) / 255 if tile.dtype == tf.uint8 else tile
            # What is beyond a thin image is not kept: of one that is 1 pixel high it would be three quarters.
            weight = tf.repeat(row_weight[:height], scale)[:, None, None] * tf.repeat(weight[:width], scale)[:, None]
            return tf.transpose(network(tile[None])[0, : height * scale, : width * scale] * weight, (1, 0, 2))

        tiles = _map(restore_tile, (columns, column_weights), channels)
        return tf.transpose(_add_up(tiles, columns[:, :width], scale), (1, 0, 2))

    bands = _map(restore_band, (rows, row_weights), channels)
    return _add_up(bands, rows[:, :height], scale)[: height * scale, : width * scale]


def _map(function, elements, channels):
    # One at a time: that is what bounds the memory.
    spec = tf.TensorSpec((None, None, channels), tf.float32)
    return tf.map_fn(function, elements, fn_output_signature=spec, parallel_iterations=1)


def _spans(size, tiling):
    """Cover an axis by equal tiles: their positions and blending weights, (tiles, tile) int32 and float32."""
    overlap, padded = tiling.overlap, _round_up(size)
    count = tf.maximum(_divide_up(padded - overlap, tiling.tile - overlap), 1)
    tile = _round_up(_divide_up(padded + (count - 1) * overlap, count))
    starts = tf.minimum(tf.range(count) * (tile - overlap), padded - tile)[:, None]
    positions = starts + tf.range(tile)
    # Zero over the outer quarter of the overlap, where a tile lacks context, then a linear ramp.
    distance = tf.range(tf.cast(tile, tf.float32)) + 0.5
    rising = tf.clip_by_value((distance - overlap / 4) / max(overlap / 2, 1), 1e-6, 1)
    weights = tf.where(starts > 0, rising, 1.0) * tf.where(starts + tile < padded, rising[::-1], 1.0)
    total = tf.math.unsorted_segment_sum(weights, positions, padded)
    return positions, weights / tf.gather(total, positions)


def _add_up(parts, positions, scale):
    """Add weighted parts, (tiles, scale * tile, ...), at their positions along the axis."""
    positions = (positions[..., None] * scale + tf.range(scale))[..., None]
    flat = tf.reshape(parts, tf.concat([[-1], tf.shape(parts)[2:]], axis=0))
    total = tf.reduce_max(positions) + 1
    return tf.math.unsorted_segment_sum(flat, tf.reshape(positions, [-1]), total)


def _reflected(positions, size):
    # Beyond the bottom and the right of the image its reflection goes on, as often as need be.
    period = tf.maximum(2 * (size - 1), 1)
    positions %= period
    return tf.where(positions < size, positions, period - positions)


def _round_up(size):
    return _divide_up(size, MULTIPLE) * MULTIPLE


def _divide_up(number, divisor):
    return -(-number // divisor)
