"""What the tests of rnan_tf.tasks.degradations share."""

import numpy as np
import tensorflow as tf
from PIL import Image


def to_pixels(image):
    """The pixels of a degraded image, which must be uint8."""
    assert image.dtype == tf.uint8
    return image.numpy()


def in_dataset(degrade, pixels):
    """What `degrade` gives inside tf.data."""
    dataset = tf.data.Dataset.from_tensors(pixels).map(degrade, num_parallel_calls=tf.data.AUTOTUNE)
    return to_pixels(next(iter(dataset)))


def read_png(path):
    pixels = np.asarray(Image.open(path))
    return pixels.reshape(*pixels.shape[:2], -1)
