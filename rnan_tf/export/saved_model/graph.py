"""An RNAN as a TensorFlow SavedModel that a server can run: tiles, image files and checks are part of the graph."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from rnan_tf.export.saved_model.tiles import restore_in_tiles
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import Task, get_task

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# GRBG: which of red, green and blue a sensor samples at each of 2x2 pixels.
_MOSAIC_CELL = np.eye(3, dtype=np.uint8)[[[1, 0], [2, 1]]]


@dataclass(frozen=True)
class ServingGraph:
    """What a server computes.

    Attributes:
        model: the network.
        card: what it is for; decides how photographs of other channels are adapted to it.
        tiling: how images are cut up inside the graph.
        max_pixels: largest restored image, over all images of a batch of pixel arrays; more is refused.
    """

    model: RNAN
    card: ModelCard
    tiling: Tiling
    max_pixels: int

    @property
    def task(self) -> Task:
        """What it restores."""
        return get_task(self.card.task)

    def signatures(self) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
        """Return name -> (function, inputs). A conditional model's have a second input, `level` (batch,) float32,
        the strength in the user's unit.

        `serving_default`: image (batch, H, W, C) uint8 -> restored, the same at `scale` times the size.
        `serve_float`: the same in float32, range [0, 1]; the result is not clipped.
        `serve_bytes`: image_bytes (batch,) string, whole PNG or JPEG files of any sizes -> image_bytes, PNG files.
        """
        network = tf.function(
            self._call_model,
            input_signature=[
                tf.TensorSpec((None, None, None, self.model.channels), tf.float32),
                tf.TensorSpec((), tf.float32),
            ],
            autograph=False,
        )

        def restore(image, level=None):
            return {"restored": self._restore_batch(network, image, level)}

        def restore_files(image_bytes, level=None):
            level = self._checked_level(level, tf.shape(image_bytes)[0])
            files = tf.map_fn(
                lambda pair: self._restore_file(network, *pair),
                (image_bytes, level),
                fn_output_signature=tf.TensorSpec((), tf.string),
                parallel_iterations=1,
            )
            return {"image_bytes": files}

        shape = (None, None, None, self.model.channels)
        level = [tf.TensorSpec((None,), tf.float32, "level")] if self.model.conditional else []
        return {
            "serving_default": (restore, [tf.TensorSpec(shape, tf.uint8, "image"), *level]),
            "serve_float": (restore, [tf.TensorSpec(shape, tf.float32, "image"), *level]),
            "serve_bytes": (restore_files, [tf.TensorSpec((None,), tf.string, "image_bytes"), *level]),
        }

    def save(self, folder: Path) -> None:
        """Write the SavedModel.

        Args:
            folder: a path that does not exist.
        """
        # `keras.export.ExportArchive` would store every weight twice.
        module = tf.Module()
        module.weights = [variable.value for variable in self.model.variables]
        signatures = {
            name: tf.function(function, input_signature=inputs, autograph=False).get_concrete_function()
            for name, (function, inputs) in self.signatures().items()
        }
        tf.saved_model.save(module, str(folder), signatures)

    # === The network and what it is fed ===

    def _call_model(self, images, level):
        if not self.model.conditional:
            return self.model(images, training=False)
        levels = tf.fill(tf.shape(images)[:1], level / 255)
        return self.model({"image": images, "level": levels}, training=False)

    def _restore_batch(self, network, image, level):
        shape = tf.shape(image, out_type=tf.int64)
        wanted = self.model.channels
        image = _checked(image, shape[3] == wanted, f"image must have {wanted} channel(s), this one has", shape[3])
        image = self._checked_size(image, tf.reduce_prod(shape[:3]))
        level = self._checked_level(level, tf.shape(image)[0])

        def restore(pair):
            pixels, level = pair
            restored = self._restore(lambda tile: network(tile, level), pixels, wanted)
            return _to_uint8(restored) if image.dtype == tf.uint8 else restored

        spec = tf.TensorSpec((None, None, wanted), image.dtype)
        return tf.map_fn(restore, (image, level), fn_output_signature=spec, parallel_iterations=1)

    def _restore(self, network, image, channels):
        restored = restore_in_tiles(network, image, self.model.scale, channels, self.tiling)
        return tf.debugging.check_numerics(restored, "the result is not finite: the model or its weights are broken")

    # === Image files ===

    def _restore_file(self, network, data, level):
        image = self._decode(data)

        def restore(channels):
            pixels = tf.ensure_shape(image, (None, None, channels))
            adapted, out = _adapted(lambda tile: network(tile, level), self.task, channels)
            if self.task.mosaic and channels == 3:
                pixels = _checked_mosaic(pixels)
            return tf.io.encode_png(_to_uint8(self._restore(adapted, pixels, out)))

        return tf.cond(tf.shape(image)[2] == 1, lambda: restore(1), lambda: restore(3))

    def _decode(self, data):
        """Decode a file to (H, W, 1 or 3) uint8, once its header names a size within the limit."""
        length = tf.strings.length(data)
        is_png = (tf.strings.substr(data, 0, 8) == _PNG_SIGNATURE) & (length >= 24)
        is_jpeg = tf.strings.substr(data, 0, 3) == _JPEG_SIGNATURE
        data = _checked(data, is_png | is_jpeg, "not a PNG or JPEG file; bytes received:", length)
        size = tf.cond(
            is_png,
            lambda: tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.int32, little_endian=False),
            lambda: tf.image.extract_jpeg_shape(data)[:2],
        )
        data = self._checked_size(data, tf.reduce_prod(tf.cast(size, tf.int64)))
        # It decodes PNG as well; this transform is Pillow's, bit for bit.
        image = tf.io.decode_jpeg(data, channels=0, dct_method="INTEGER_ACCURATE")
        channels = tf.shape(image)[2]
        message = "an image file must be gray or RGB, without transparency; channels received:"
        return _checked(image, (channels == 1) | (channels == 3), message, channels)

    # === Checks; they fail with INVALID_ARGUMENT ===

    def _checked_size(self, value, pixels):
        pixels *= self.model.scale**2
        value = _checked(value, pixels > 0, "the image is empty; pixels received:", pixels)
        message = f"at most {self.max_pixels} restored pixels are served at a time, these would be"
        return _checked(value, pixels <= self.max_pixels, message, pixels)

    def _checked_level(self, level, batch):
        if level is None:
            return tf.zeros(batch)
        low, high = self.card.strengths
        level = _checked(level, tf.size(level) == batch, "level must have one value an image; received:", level)
        in_range = tf.reduce_all((level >= low) & (level <= high))
        return _checked(level, in_range, f"level must be from {low:g} to {high:g}; received:", level)


def _checked(value, condition, message, received):
    with tf.control_dependencies([tf.debugging.Assert(condition, [message, received])]):
        return tf.identity(value)


def _checked_mosaic(image):
    excess = tf.math.count_nonzero(image - _sampled(image[None])[0])
    message = "not a GRBG mosaic: values that its sensor does not sample must be zero; others received:"
    return _checked(image, excess == 0, message, excess)


def _sampled(images):
    """Keep what a GRBG sensor samples of (batch, H, W, 1 or 3), which begins at an even row and column."""
    rows, columns = tf.unstack(tf.shape(images)[1:3])
    mask = tf.gather(tf.gather(_MOSAIC_CELL, tf.range(rows) % 2), tf.range(columns) % 2, axis=1)
    return images * tf.cast(mask, images.dtype)


def _adapted(network, task, channels):
    """Adapt a network to photographs of 1 or 3 channels as `restoring.adapters` does; and its output channels."""
    if task.mosaic and channels == 1:
        return lambda tile: network(_sampled(tile)), 3
    if task.channels == channels:
        return network, channels
    if channels == 1:
        return lambda tile: tf.reduce_mean(network(tf.repeat(tile, 3, axis=3)), axis=3, keepdims=True), 1
    if task.of_luma:
        return lambda tile: _on_luma(network, tile), 3
    return lambda tile: _channels_as_batch(network(_channels_as_batch(tile))), 3


def _channels_as_batch(images):
    return tf.transpose(images, (3, 1, 2, 0))


def _on_luma(network, tile):
    red, green, blue = tf.split(tile, 3, axis=3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blue_difference, red_difference = (blue - luma) / 1.772, (red - luma) / 1.402
    luma = network(luma)
    red, blue = luma + 1.402 * red_difference, luma + 1.772 * blue_difference
    return tf.concat([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=3)


def _to_uint8(image):
    return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 1.0) * 255), tf.uint8)
