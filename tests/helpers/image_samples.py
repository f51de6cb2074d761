"""Small photographs of every kind for the tests of rnan_tf.photos, files of them, and how results are compared."""

import struct
import zlib

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from rnan_tf.photos.photo import ImageError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]
RGB8 = skimage.data.astronaut()[40:101, 180:253]  # odd sizes, so that a wrong turn shows
GRAY8 = skimage.data.camera()[100:161, 200:273]
ALPHA8 = np.random.default_rng(0).integers(0, 256, RGB8.shape[:2], dtype=np.uint8)


def to16(array):
    """8-bit data with real low bits: a reader that goes through 8 bits cannot give it back."""
    noise = np.random.default_rng(1).integers(0, 257, array.shape)
    return np.minimum(array.astype(np.uint32) * 257 + noise, 65535).astype(np.uint16)


RGB16, GRAY16, ALPHA16 = to16(RGB8), to16(GRAY8), to16(ALPHA8)


def save(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def tf_png16(array):
    import tensorflow as tf

    return tf.io.encode_png(array).numpy()


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def assert_same(photo, pixels, alpha=None):
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    assert photo.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.pixels.flags.c_contiguous
    if alpha is None:
        assert photo.alpha is None
    else:
        np.testing.assert_array_equal(photo.alpha, alpha)
        assert photo.alpha.dtype == pixels.dtype


def assert_image_error(call, *fragments):
    with pytest.raises(ImageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
