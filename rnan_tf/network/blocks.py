"""The blocks of RNAN as Keras layers. They use `keras.ops` only and run on every Keras backend."""

import keras
from keras import ops

from rnan_tf.network.attention import CHUNK_SIZE, check_options, non_local_attention


def conv(filters: int, kernel_size: int = 3, **kwargs) -> keras.layers.Conv2D:
    """Return a 'same' convolution with the reference's initialisation (Glorot's makes RNAN's outputs explode).

    Args:
        filters: output channels.
        kernel_size: kernel height and width.
        **kwargs: other arguments of `keras.layers.Conv2D`.

    Returns:
        The layer.
    """
    kwargs.setdefault("padding", "same")
    kwargs.setdefault("kernel_initializer", _initializer())
    return keras.layers.Conv2D(filters, kernel_size, **kwargs)


def _initializer():
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


class _SameShape(keras.layers.Layer):
    """A layer whose output has its input's shape and whose parts are built on that same shape."""

    def build(self, input_shape):
        for layer in self._flatten_layers(include_self=False, recursive=False):
            layer.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)


@keras.saving.register_keras_serializable("rnan_tf")
class ResidualBlock(_SameShape):
    """RB(x) = x + Conv(ReLU(Conv(x))).

    Args:
        filters: channels of the input and of the output.
        kernel_size: kernel height and width of both convolutions.

    Input shape: (batch, H, W, filters). Output shape: the same.

    Reference: Zhang et al., ICLR 2019, section 3.1.
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.conv1 = conv(filters, kernel_size, activation="relu", dtype=self.dtype_policy, name="conv1")
        self.conv2 = conv(filters, kernel_size, dtype=self.dtype_policy, name="conv2")

    def call(self, x):
        return x + self.conv2(self.conv1(x))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("rnan_tf")
class NonLocalBlock(_SameShape):
    """x + W(y), y the softmax-weighted sum of g over all positions; W starts at zero, so the block as the identity.

    Args:
        filters: channels of the input and of the output, even; theta, phi and g have half as many.
        normalize_over: "keys" (the paper) or "queries" (the authors' code), see `non_local_attention`.
        chunk_size: rows of the score matrix held at one time.

    Input shape: (batch, H, W, filters). Output shape: the same.

    Reference: Zhang et al., ICLR 2019, section 3.3.
    """

    def __init__(self, filters: int, normalize_over: str = "keys", chunk_size: int = CHUNK_SIZE, **kwargs):
        super().__init__(**kwargs)
        check_options(normalize_over, chunk_size)
        self.filters = filters
        self.normalize_over = normalize_over
        self.chunk_size = chunk_size
        self.theta, self.phi, self.g = (
            conv(filters // 2, 1, dtype=self.dtype_policy, name=name) for name in ("theta", "phi", "g")
        )
        self.w = conv(filters, 1, kernel_initializer="zeros", dtype=self.dtype_policy, name="w")

    def build(self, input_shape):
        for layer in (self.theta, self.phi, self.g):
            layer.build(input_shape)
        self.w.build((*input_shape[:-1], self.filters // 2))
        self.built = True

    def call(self, x, training=None):
        _, height, width, _ = ops.shape(x)
        theta, phi, g = (
            ops.reshape(project(x), (-1, height * width, self.filters // 2))
            for project in (self.theta, self.phi, self.g)
        )
        y = non_local_attention(theta, phi, g, self.normalize_over, self.chunk_size, training)
        return x + self.w(ops.reshape(y, (-1, height, width, self.filters // 2)))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "normalize_over": self.normalize_over,
            "chunk_size": self.chunk_size,
        }


@keras.saving.register_keras_serializable("rnan_tf")
class MaskBranch(_SameShape):
    """The attention mask in (0, 1): an hourglass of residual blocks, after a non-local block if `non_local`.

    Args:
        filters: channels of the input and of the output.
        non_local: whether a non-local block comes first.
        normalize_over: see `NonLocalBlock`.
        chunk_size: see `NonLocalBlock`.

    Input shape: (batch, H, W, filters), H and W even. Output shape: the same.

    Raises:
        ValueError: H or W is known and odd: the stride-2 convolution and its inverse would not meet.

    Reference: Zhang et al., ICLR 2019, section 3.2 and figure 2.
    """

    def __init__(
        self,
        filters: int,
        non_local: bool = False,
        normalize_over: str = "keys",
        chunk_size: int = CHUNK_SIZE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.non_local = non_local
        self.normalize_over = normalize_over
        self.chunk_size = chunk_size
        dtype = self.dtype_policy
        if non_local:
            self.attention = NonLocalBlock(filters, normalize_over, chunk_size, dtype=dtype, name="non_local")
        self.rb1 = ResidualBlock(filters, dtype=dtype, name="rb1")
        # Keras' 'same' pads 0 before and 1 after at stride 2, the reference 1 on all sides.
        self.pad = keras.layers.ZeroPadding2D(1, dtype=dtype, name="pad")
        self.down = conv(filters, strides=2, padding="valid", dtype=dtype, name="down")
        self.rb2 = [ResidualBlock(filters, dtype=dtype, name=f"rb2_{i}") for i in range(2)]
        self.up = keras.layers.Conv2DTranspose(
            filters, 6, strides=2, padding="same", kernel_initializer=_initializer(), dtype=dtype, name="up"
        )
        self.rb3 = ResidualBlock(filters, dtype=dtype, name="rb3")
        self.project = conv(filters, 1, activation="sigmoid", dtype=dtype, name="project")

    def build(self, input_shape):
        if any(size is not None and size % 2 for size in input_shape[1:3]):
            raise ValueError(f"Height and width must be even. Received: input_shape={tuple(input_shape)}")
        # `down` sees the padded map; on the unpadded one of 2x2 Keras refuses to build a 'valid' 3x3 convolution.
        super().build((input_shape[0], None, None, input_shape[-1]))

    def call(self, x):
        if self.non_local:
            x = self.attention(x)
        r = self.rb1(x)
        x = self.down(self.pad(r))
        for block in self.rb2:
            x = block(x)
        return self.project(self.rb3(self.up(x) + r))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "non_local": self.non_local,
            "normalize_over": self.normalize_over,
            "chunk_size": self.chunk_size,
        }


@keras.saving.register_keras_serializable("rnan_tf")
class ResidualAttentionBlock(_SameShape):
    """RAB, or RNAB with `non_local=True`: h = RB(x); y = trunk(h) * mask(h) + h; Conv(RB(RB(y))).

    Args:
        filters: channels of the input and of the output.
        non_local: whether the mask branch starts with a non-local block (RNAB).
        normalize_over: see `NonLocalBlock`.
        chunk_size: see `NonLocalBlock`.

    Input shape: (batch, H, W, filters), H and W even. Output shape: the same.

    Reference: Zhang et al., ICLR 2019, section 3.2, equations 3 and 4.
    """

    def __init__(
        self,
        filters: int,
        non_local: bool = False,
        normalize_over: str = "keys",
        chunk_size: int = CHUNK_SIZE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.non_local = non_local
        self.normalize_over = normalize_over
        self.chunk_size = chunk_size
        dtype = self.dtype_policy
        self.head = ResidualBlock(filters, dtype=dtype, name="head")
        self.trunk = [ResidualBlock(filters, dtype=dtype, name=f"trunk_{i}") for i in range(2)]
        self.mask = MaskBranch(filters, non_local, normalize_over, chunk_size, dtype=dtype, name="mask")
        self.tail = [ResidualBlock(filters, dtype=dtype, name=f"tail_{i}") for i in range(2)]
        self.conv = conv(filters, dtype=dtype, name="conv")

    def call(self, x):
        h = self.head(x)
        trunk = h
        for block in self.trunk:
            trunk = block(trunk)
        y = trunk * self.mask(h) + h
        for block in self.tail:
            y = block(y)
        return self.conv(y)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "non_local": self.non_local,
            "normalize_over": self.normalize_over,
            "chunk_size": self.chunk_size,
        }


@keras.saving.register_keras_serializable("rnan_tf")
class LevelChannel(keras.layers.Layer):
    """Append a channel that holds the degradation level at every pixel.

    Input shape: [(batch, H, W, C), (batch,)]. Output shape: (batch, H, W, C + 1).
    """

    def call(self, inputs):
        image, level = inputs
        channel = ops.ones_like(image[..., :1]) * ops.reshape(level, (-1, 1, 1, 1))
        return ops.concatenate([image, channel], axis=-1)

    def compute_output_shape(self, input_shape):
        image, _ = input_shape
        return *image[:-1], image[-1] + 1
