"""Layers that change an image's size: shuffles, enlargement, padding and its crop. `keras.ops` only."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("rnan_tf")
class PixelShuffle(keras.layers.Layer):
    """Move blocks of channels to `scale` x `scale` blocks of pixels, or back with `inverse=True`.

    The channel order is TensorFlow's, (row, column, channel); PyTorch's is (channel, row, column).

    Args:
        scale: integer factor >= 2.
        inverse: pixels to channels instead.

    Input shape: (batch, H, W, C). Output shape: (batch, H * scale, W * scale, C / scale**2), or the inverse.
    """

    def __init__(self, scale: int, inverse: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.inverse = inverse

    def call(self, x):
        return _shuffle(x, self.scale, self.inverse)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if self.inverse:
            height, width = (size and size // self.scale for size in (height, width))
            return batch, height, width, channels * self.scale**2
        height, width = (size and size * self.scale for size in (height, width))
        return batch, height, width, channels // self.scale**2

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "inverse": self.inverse}


def _shuffle(x, scale, inverse=False):
    shuffle = ops.space_to_depth if inverse else ops.depth_to_space
    return shuffle(x, scale, data_format="channels_last")


@keras.saving.register_keras_serializable("rnan_tf")
class Enlarge(keras.layers.Layer):
    """Bilinear interpolation by an integer factor, pixel centres aligned, borders replicated.

    The same numbers as `keras.layers.UpSampling2D(scale, interpolation="bilinear")`, which takes no graph of unknown
    height and width.

    Args:
        scale: integer factor >= 2.

    Input shape: (batch, H, W, C). Output shape: (batch, H * scale, W * scale, C).
    """

    def __init__(self, scale: int, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        rows = self._phases(x, axis=1)
        # One group of channels for each of the scale x scale positions that a pixel becomes.
        phases = [phase for row in rows for phase in self._phases(row, axis=2)]
        return _shuffle(ops.concatenate(phases, axis=-1), self.scale)

    def _phases(self, x, axis):
        """Return x interpolated at each of the `scale` positions inside its pixels, along an axis."""
        first, last = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
        before = ops.concatenate([first, x[:, :-1] if axis == 1 else x[:, :, :-1]], axis=axis)
        after = ops.concatenate([x[:, 1:] if axis == 1 else x[:, :, 1:], last], axis=axis)
        offsets = [(i + 0.5) / self.scale - 0.5 for i in range(self.scale)]
        return [x + abs(offset) * ((after if offset > 0 else before) - x) for offset in offsets]

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        height, width = (size and size * self.scale for size in (height, width))
        return batch, height, width, channels

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("rnan_tf")
class PadToMultiple(keras.layers.Layer):
    """Reflect rows at the bottom and columns at the right until H and W are multiples of a number.

    Args:
        multiple: the number, >= 1.

    Input shape: (batch, H, W, C), H and W from 1 up. Output shape: the same with H and W rounded up.
    """

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        for axis in (1, 2):
            size = ops.shape(x)[axis]
            if isinstance(size, int) and size % self.multiple == 0:
                continue
            # `ops.pad` takes static widths only; a gather takes any size, 1 included.
            period = ops.maximum(2 * (size - 1), 1)
            # Not -(-a // b): ONNX's division truncates, which is floor only for positive numbers.
            index = ops.arange((size + self.multiple - 1) // self.multiple * self.multiple) % period
            x = ops.take(x, ops.where(index < size, index, period - index), axis=axis)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        height, width = (size and -(-size // self.multiple) * self.multiple for size in (height, width))
        return batch, height, width, channels

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("rnan_tf")
class CropLike(keras.layers.Layer):
    """Undo `PadToMultiple`: crop an image to `scale` times the size of another.

    Args:
        scale: integer factor >= 1.

    Input shape: [(batch, H, W, C), (batch, h, w, any)]. Output shape: (batch, scale * h, scale * w, C).
    """

    def __init__(self, scale: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        image, like = inputs
        height, width = ops.shape(like)[1:3]
        return image[:, : height * self.scale, : width * self.scale]

    def compute_output_shape(self, input_shape):
        image, like = input_shape
        height, width = (size and size * self.scale for size in like[1:3])
        return image[0], height, width, image[3]

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
