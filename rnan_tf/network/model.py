"""RNAN: the network as a functional Keras model in a class."""

from typing import Any

import keras
from keras import layers

from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.blocks import LevelChannel, ResidualAttentionBlock, conv
from rnan_tf.network.resampling import CropLike, Enlarge, PadToMultiple, PixelShuffle
from rnan_tf.network.variants import VARIANTS
from rnan_tf.weights import list_presets, preset_path, read_config

# The mean that EDSR's and RNAN's super-resolution networks subtract, of the DIV2K training set, range [0, 1].
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


@keras.saving.register_keras_serializable("rnan_tf")
class RNAN(keras.Model):
    """Residual Non-local Attention Network for image restoration.

    Args:
        filters: channels of the features, even.
        num_blocks: attention blocks, >= 2: the first and the last are non-local (RNAB), the others local (RAB).
        channels: image channels, 3 (RGB) or 1 (gray).
        scale: 1 restores at the input's size; 2, 3 or 4 is super-resolution, RGB only.
        normalize_over: "keys" (the paper) or "queries" (the authors' code), see `non_local_attention`.
        conditional: adds a second input `level`; the model then takes `{"image": ..., "level": ...}`.
        space_to_depth: the features' resolution is the image's divided by this; 1 is the paper, 2 `rnan_lite`.
        subpixel_tail: of super-resolution: one convolution and a pixel shuffle give what is added to the bilinearly
            enlarged image, as always with `space_to_depth` above 1; False is the paper, which adds to nothing.
        value_range: the network inside works on images times this. The reference's weights expect 255; sigmoid and
            softmax are not scale-free.
        input_size: (H, W) if static, None for any size from 1x1 up.
        chunk_size: rows of the attention's score matrix held at one time; smaller takes less memory.
        metadata: what the model was trained for, plain JSON data that is saved with it.
        dtype: a Keras dtype or policy, such as "mixed_bfloat16"; the output is float32 always.

    Input shape: image (batch, H, W, channels), float32 in [0, 1]; level (batch,), noise sigma or JPEG quality / 255.
    Output shape: (batch, scale * H, scale * W, channels), float32, not clipped.

    Raises:
        ValueError: an argument is out of its range.

    Reference: Zhang et al., "Residual Non-local Attention Networks for Image Restoration", ICLR 2019.
    """

    def __init__(
        self,
        filters: int = 64,
        num_blocks: int = 10,
        channels: int = 3,
        scale: int = 1,
        normalize_over: str = "keys",
        conditional: bool = False,
        space_to_depth: int = 1,
        subpixel_tail: bool = False,
        value_range: float = 1.0,
        input_size: tuple[int, int] | None = None,
        chunk_size: int = CHUNK_SIZE,
        metadata: dict[str, Any] | None = None,
        dtype: Any = None,
        name: str = "rnan",
    ):
        _check(filters=filters, num_blocks=num_blocks, channels=channels, scale=scale, space_to_depth=space_to_depth)
        height, width = input_size or (None, None)

        # === The degraded image, padded so that every stride meets its inverse ===
        image = keras.Input((height, width, channels), name="image")
        level = keras.Input((), name="level") if conditional else None
        padded = PadToMultiple(2 * space_to_depth, dtype="float32", name="pad")(image)
        subpixel = space_to_depth > 1 or (subpixel_tail and scale > 1)
        mean_shift = scale > 1 and not subpixel
        offset = [-value_range * mean for mean in DIV2K_MEAN] if mean_shift else 0.0
        x = layers.Rescaling(value_range, offset, dtype=dtype, name="to_range")(padded)
        if conditional:
            x = LevelChannel(dtype=dtype, name="level_channel")([x, level])
        if space_to_depth > 1:
            x = PixelShuffle(space_to_depth, inverse=True, dtype=dtype, name="to_depth")(x)

        # === Features ===
        head = conv(filters, dtype=dtype, name="head")(x)
        block = {"filters": filters, "normalize_over": normalize_over, "chunk_size": chunk_size, "dtype": dtype}
        x = ResidualAttentionBlock(non_local=True, name="rnab_low", **block)(head)
        for i in range(num_blocks - 2):
            x = ResidualAttentionBlock(name=f"rab_{i}", **block)(x)
        x = conv(filters, dtype=dtype, name="body")(x)
        x = ResidualAttentionBlock(non_local=True, name="rnab_high", **block)(x)
        if scale > 1 or space_to_depth > 1:
            x = layers.Add(dtype=dtype, name="add_head")([x, head])

        # === The restored image ===
        if subpixel:
            factor = scale * space_to_depth
            x = conv(channels * factor**2, dtype=dtype, name="tail")(x)
            x = PixelShuffle(factor, dtype=dtype, name="to_space")(x)
        else:
            x = _upsample(x, filters, scale, dtype)
            x = conv(channels, dtype=dtype, name="tail")(x)
        offset = list(DIV2K_MEAN) if mean_shift else 0.0
        x = layers.Rescaling(1 / value_range, offset, dtype="float32", name="from_range")(x)
        if not mean_shift:
            x = layers.Add(dtype="float32", name="add_image")([x, _enlarge(padded, scale)])
        outputs = CropLike(scale, dtype="float32", name="crop")([x, image])

        inputs = {"image": image, "level": level} if conditional else image
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.filters = filters
        self.num_blocks = num_blocks
        self.channels = channels
        self.scale = scale
        self.normalize_over = normalize_over
        self.conditional = conditional
        self.space_to_depth = space_to_depth
        self.subpixel_tail = subpixel_tail
        self.value_range = value_range
        self.input_size = tuple(input_size) if input_size else None  # a .keras file brings a list
        self.chunk_size = chunk_size
        self.metadata = dict(metadata or {})
        self._dtype_argument = dtype

    @classmethod
    def from_preset(cls, preset: str, load_weights: bool = True, **kwargs: Any) -> "RNAN":
        """Build the network of a preset; of a size, `RNAN(**rnan_tf.VARIANTS["rnan_lite"])` builds one.

        Args:
            preset: a preset's name, see `rnan_tf.list_presets`.
            load_weights: whether it comes with its trained weights, or with fresh ones.
            **kwargs: constructor arguments that replace the preset's, such as `input_size`; with `load_weights` those
                that leave the weights' shapes as they are.

        Returns:
            The model.

        Raises:
            ValueError: there is no such preset.
        """
        if preset in VARIANTS:
            raise ValueError(f"{preset!r} is a size and no preset: RNAN(**rnan_tf.VARIANTS[{preset!r}]) builds it")
        path = preset_path(preset)
        if path is None:
            raise ValueError(f"Argument `preset` must be one of {', '.join(list_presets())}. Received: {preset!r}")
        model = cls(**{**read_config(path)["config"], "dtype": None, **kwargs})
        if load_weights:
            model.load_weights(path)
        return model

    def rebuild(self, **changes: Any) -> "RNAN":
        """Return a model with the same weights and other constructor arguments, such as `dtype` or `input_size`.

        Args:
            **changes: constructor arguments that leave the weights' shapes as they are.

        Returns:
            A new model.
        """
        model = type(self)(**{**self.get_config(), **changes})
        model.set_weights(self.get_weights())
        return model

    def get_config(self) -> dict[str, Any]:
        dtype = self._dtype_argument
        return {
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "channels": self.channels,
            "scale": self.scale,
            "normalize_over": self.normalize_over,
            "conditional": self.conditional,
            "space_to_depth": self.space_to_depth,
            "subpixel_tail": self.subpixel_tail,
            "value_range": self.value_range,
            "input_size": self.input_size,
            "chunk_size": self.chunk_size,
            "metadata": dict(self.metadata),
            "dtype": dtype.name if isinstance(dtype, keras.DTypePolicy) else dtype,
            "name": self.name,
        }


def least_parameters(filters: int, num_blocks: int, space_to_depth: int = 1) -> int:
    """Return how many weights a network has at least, which is a few percent below the truth.

    Args:
        filters: see `RNAN`, as `num_blocks` and `space_to_depth`.
    """
    # Of a block: 20 convolutions 3x3, a transposed one 6x6 that is worth four of them, one 1x1. Of the head: gray.
    return 217 * num_blocks * filters**2 + 9 * space_to_depth**2 * filters


def _check(filters: int, num_blocks: int, channels: int, scale: int, space_to_depth: int) -> None:
    if filters < 2 or filters % 2:
        raise ValueError(f"Argument `filters` must be even and at least 2. Received: {filters}")
    if num_blocks < 2:
        raise ValueError(f"Argument `num_blocks` must be at least 2. Received: {num_blocks}")
    if scale not in (1, 2, 3, 4):
        raise ValueError(f"Argument `scale` must be 1, 2, 3 or 4. Received: {scale}")
    if channels not in (1, 3) or (scale > 1 and channels != 3):
        raise ValueError(f"Argument `channels` must be 3, or 1 where `scale` is 1. Received: {channels}")
    if space_to_depth < 1:
        raise ValueError(f"Argument `space_to_depth` must be at least 1. Received: {space_to_depth}")


def _upsample(x: Any, filters: int, scale: int, dtype: Any) -> Any:
    for i, factor in enumerate({1: (), 2: (2,), 3: (3,), 4: (2, 2)}[scale]):
        x = conv(filters * factor**2, dtype=dtype, name=f"upsample_{i}")(x)
        x = PixelShuffle(factor, dtype=dtype, name=f"shuffle_{i}")(x)
    return x


def _enlarge(image: Any, scale: int) -> Any:
    if scale == 1:
        return image
    return Enlarge(scale, dtype="float32", name="enlarge")(image)
