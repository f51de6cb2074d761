"""What a model costs."""

import math

from rnan_tf.network.model import RNAN

# Attention's cost grows with the tile, so the tile is part of the number.
TILE = 96


def multiply_adds(model: RNAN, tile: int = TILE) -> float:
    """Count the multiplications with addition that one input pixel takes in convolutions and attention.

    Args:
        model: the model.
        tile: height and width of the image that it restores.

    Returns:
        The number, for a batch of one.
    """
    import tensorflow as tf  # whose graph is counted; the network itself needs none

    # A loop's body would be counted once, so the attention is built in one piece.
    static = model.rebuild(input_size=(tile, tile), chunk_size=tile * tile)
    image = tf.TensorSpec((1, tile, tile, model.channels))
    inputs = {"image": image, "level": tf.TensorSpec((1,))} if model.conditional else image
    graph = tf.function(static).get_concrete_function(inputs).graph
    return sum(_multiply_adds(operation) for operation in graph.get_operations()) / tile**2


def _multiply_adds(operation):
    shapes = [list(tensor.shape) for tensor in operation.inputs]
    if operation.type == "Conv2D":
        _, height, width, _ = operation.outputs[0].shape
        return height * width * math.prod(shapes[1])
    if operation.type == "Conv2DBackpropInput":  # a transposed convolution: (output shape, kernel, image)
        _, height, width, _ = shapes[2]
        return height * width * math.prod(shapes[1])
    if operation.type in ("BatchMatMulV2", "MatMul"):
        return math.prod(shapes[0]) * operation.outputs[0].shape[-1]
    return 0
