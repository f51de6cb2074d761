"""What an exported file computes, as its converter wants it."""

from collections.abc import Callable

import tensorflow as tf

from rnan_tf.network.model import RNAN


def make_endpoint(model: RNAN, batch: int | None, side: int | None) -> tuple[Callable, list[tf.TensorSpec]]:
    """Return a network as a function of named tensors.

    Args:
        model: the network.
        batch: images at a time; None for any number.
        side: their height and width; None for any.

    Returns:
        (the function; its inputs: image (batch, side, side, C) float32[, level (batch,), strengths as a part of 255]).
        It returns {"restored": images}.
    """
    signature = [tf.TensorSpec((batch, side, side, model.channels), name="image")]
    signature += [tf.TensorSpec((batch,), name="level")] if model.conditional else []

    def restore(image, level=None):
        return {"restored": model({"image": image, "level": level} if model.conditional else image)}

    return restore, signature
