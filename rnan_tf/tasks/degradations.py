"""Degradations: pure TensorFlow functions (clean image, seed, strength) -> degraded image.

Images are uint8, 0 to 255, (H, W, C), as the reference's files are; an array will do for a tensor. The seed, two
integers such as (seed, image index), alone decides about randomness: the same bytes come out eagerly and inside
tf.data, in any order of execution.
"""

import io
import math
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from rnan_tf.photos.pixels import CFA_PATTERNS


def add_noise(image: tf.Tensor, seed: Any, sigma: Any) -> tf.Tensor:
    """Add white Gaussian noise, then round and clip.

    Args:
        image: (H, W, C) uint8.
        seed: two integers.
        sigma: the noise's, on the 0-255 scale, a number or a scalar tensor.

    Returns:
        (H, W, C) uint8.
    """
    # The algorithm is named because the default may differ between devices.
    noise = tf.random.stateless_normal(tf.shape(image), seed, alg="philox")
    # Added on the scale 0 to 1: the last bits decide which way a value next to .5 is rounded.
    noisy = tf.cast(image, tf.float32) / 255.0 + noise * (tf.cast(sigma, tf.float32) / 255.0)
    return tf.cast(tf.clip_by_value(tf.round(noisy * 255.0), 0.0, 255.0), tf.uint8)


def add_camera_noise(image: tf.Tensor, seed: Any, strength: Any = None) -> tf.Tensor:
    """Add noise as a camera has it at a random gain, then round and clip.

    In linear light x, which sRGB's curve is undone for, its variance is shot * x + read: photons come by chance, and
    reading them out adds noise of its own. Both grow with the camera's gain (ISO), which is drawn anew for each image.

    Args:
        image: (H, W, C) uint8.
        seed: two integers.
        strength: unused; how noisy it gets is drawn.

    Returns:
        (H, W, C) uint8.

    References: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
    2008, for the variance; Brooks et al., "Unprocessing images for learned raw denoising", 2019, section 3.1, for the
    range of shot and read.
    """
    draws = tf.random.stateless_normal((tf.size(image) + 2,), seed, alg="philox")
    share = 0.5 + 0.5 * tf.math.erf(draws[0] / math.sqrt(2))  # uniform
    log_shot = math.log(1e-4) + share * (math.log(0.012) - math.log(1e-4))
    read = tf.exp(2.18 * log_shot + 1.2 + 0.26 * draws[1])
    encoded = tf.cast(image, tf.float32) / 255.0
    light = tf.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    noise = tf.reshape(draws[2:], tf.shape(image))
    light = tf.clip_by_value(light + noise * tf.sqrt(tf.exp(log_shot) * light + read), 0.0, 1.0)
    encoded = tf.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return tf.cast(tf.round(encoded * 255.0), tf.uint8)


def mosaic(image: tf.Tensor, seed: Any = None, strength: Any = None, pattern: str = "GRBG") -> tf.Tensor:
    """Keep at each pixel the colour that a Bayer sensor samples there and set the other two to zero.

    Args:
        image: (H, W, 3) uint8.
        seed: unused, nothing here is random.
        strength: unused, a mosaic has none.
        pattern: the colours at (0,0) (0,1) (1,0) (1,1): "GRBG" (the reference), "RGGB", "BGGR" or "GBRG".

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: unknown pattern.
    """
    if pattern not in CFA_PATTERNS:
        raise ValueError(f"Argument `pattern` must be one of {', '.join(CFA_PATTERNS)}. Received: {pattern!r}")
    cell = np.eye(3, dtype="uint8")[["RGB".index(color) for color in pattern]].reshape(2, 2, 3)
    height, width = tf.unstack(tf.shape(image)[:2])
    mask = tf.tile(cell, [(height + 1) // 2, (width + 1) // 2, 1])[:height, :width]
    return image * mask


def compress_jpeg(image: tf.Tensor, seed: Any, quality: Any) -> tf.Tensor:
    """Encode as baseline JPEG and decode, bit-exact with Pillow's `save(quality=quality)` of a gray image.

    Args:
        image: (H, W, 1) uint8, the luma plane.
        seed: unused, nothing here is random.
        quality: 1 to 100, a number or a scalar integer tensor.

    Returns:
        (H, W, 1) uint8.
    """
    # tf.image.adjust_jpeg_quality decodes with another inverse DCT and is off by one level on many pixels.
    encoded = tf.raw_ops.EncodeJpegVariableQuality(images=image, quality=tf.cast(quality, tf.int32))
    return _decode_jpeg(encoded, image.shape)


def compress_color_jpeg(
    image: tf.Tensor, seed: Any, quality: Any, subsampling: tuple[str, ...] = ("4:2:0",)
) -> tf.Tensor:
    """Encode as baseline JPEG and decode, bit-exact with Pillow's `save(quality=quality, subsampling=...)`.

    Args:
        image: (H, W, 3) uint8.
        seed: two integers; they draw one of `subsampling`.
        quality: 1 to 100, a number or a scalar tensor that holds a whole one.
        subsampling: of the chroma, among `SUBSAMPLINGS`. "4:2:2" goes through Python, which a graph cannot take along
            to another process.

    Returns:
        (H, W, 3) uint8.
    """
    encoders = [partial(_ENCODERS[name], image, quality) for name in subsampling]
    drawn = tf.random.stateless_uniform((), seed, 0, len(encoders), tf.int32, alg="philox")
    return _decode_jpeg(tf.switch_case(drawn, encoders), image.shape)


def _decode_jpeg(encoded: tf.Tensor, shape: Any) -> tf.Tensor:
    decoded = tf.io.decode_jpeg(encoded, channels=shape[-1], dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(decoded, shape)


def _encode_420(pixels: tf.Tensor, quality: Any) -> tf.Tensor:
    return tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=tf.cast(quality, tf.int32))


def _encode_444(pixels: tf.Tensor, quality: Any) -> tf.Tensor:
    encode = partial(tf.io.encode_jpeg, pixels, chroma_downsampling=False)
    if not tf.is_tensor(quality):
        return encode(quality=int(quality))
    # The operation's quality is part of the graph: a branch for each.
    return tf.switch_case(tf.cast(quality, tf.int32) - 1, [partial(encode, quality=q) for q in range(1, 101)])


def _encode_422(pixels: tf.Tensor, quality: Any) -> tf.Tensor:
    def encode(pixels: np.ndarray, quality: Any) -> bytes:
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "JPEG", quality=int(quality), subsampling="4:2:2")
        return data.getvalue()

    return tf.numpy_function(encode, [pixels, quality], tf.string, stateful=False)


_ENCODERS = {"4:2:0": _encode_420, "4:4:4": _encode_444, "4:2:2": _encode_422}


def downscale(image: tf.Tensor, seed: Any = None, strength: Any = None, scale: int = 2) -> tf.Tensor:
    """Shrink by MATLAB's bicubic `imresize`.

    Args:
        image: (H, W, C) uint8, H and W static and multiples of `scale`.
        seed: unused, nothing here is random.
        strength: unused, this has none.
        scale: 2, 3 or 4.

    Returns:
        (H / scale, W / scale, C) uint8.

    Raises:
        ValueError: H or W is not a multiple of `scale`.
    """
    if image.shape[0] % scale or image.shape[1] % scale:
        raise ValueError(f"Height and width must be multiples of the scale {scale}. Received: {tuple(image.shape)}")
    return imresize(image, down=scale)


def imresize(image: tf.Tensor, up: int = 1, down: int = 1) -> tf.Tensor:
    """Resize as MATLAB's `imresize(uint8_image, up / down)` does: bicubic, antialiased where it shrinks.

    Args:
        image: (H, W, C) uint8, H and W static.
        up: enlarges by this integer factor, or
        down: shrinks by this one; the size is rounded up.

    Returns:
        (ceil(H * up / down), ceil(W * up / down), C) uint8, rounded half up after each of the two passes.

    Raises:
        ValueError: both factors are other than 1.
    """
    if min(up, down) != 1:
        raise ValueError(f"One of the arguments `up` and `down` must be 1. Received: up={up}, down={down}")
    # The weights are multiples of 1/unit, so sums of 8-bit values times integer weights are exact in float32.
    unit = 16.0 * max(up, down) ** 4
    for _ in range(2):
        size, others, channels = image.shape
        matrix = np.rint(_resize_matrix(size, up / down) * unit).astype("float32")
        x = tf.matmul(matrix, tf.reshape(tf.cast(image, tf.float32), (size, others * channels)))
        x = tf.clip_by_value(tf.floor(x / unit + 0.5), 0.0, 255.0)
        # Bytes are transposed four times as fast as floats.
        image = tf.transpose(tf.cast(tf.reshape(x, (-1, others, channels)), tf.uint8), (1, 0, 2))
    return image


def _resize_matrix(size: int, scale: float) -> np.ndarray:
    """MATLAB's `contributions`: row i holds the weights of the input pixels in output pixel i."""
    width = 4 / min(scale, 1)
    out = np.arange(math.ceil(size * scale - 1e-9))
    center = (out + 0.5) / scale - 0.5
    index = np.floor(center - width / 2)[:, None].astype(int) + np.arange(math.ceil(width) + 2)
    weights = _cubic((center[:, None] - index) * min(scale, 1))
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(out), size))
    np.add.at(matrix, (out[:, None], index.clip(0, size - 1)), weights)
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
