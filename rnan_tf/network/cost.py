"""What a model costs."""

import math
from collections.abc import Iterator
from typing import Any

import keras

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
    # A loop's body would be counted once, so the attention is built in one piece.
    static = model.rebuild(input_size=(tile, tile), chunk_size=tile * tile)
    shapes = {"image": (1, tile, tile, model.channels), **({"level": (1,)} if model.conditional else {})}
    products = _products_on_jax if keras.backend.backend() == "jax" else _products_on_tensorflow
    return sum(products(static, shapes)) / tile**2


def _call(model, inputs):
    return model(inputs if model.conditional else inputs["image"])


def _products_on_tensorflow(model: RNAN, shapes: dict[str, tuple[int, ...]]) -> Iterator[float]:
    import tensorflow as tf  # whose graph is counted; the network itself needs none

    inputs = {name: tf.TensorSpec(shape) for name, shape in shapes.items()}
    graph = tf.function(lambda inputs: _call(model, inputs)).get_concrete_function(inputs).graph
    return map(_multiply_adds, graph.get_operations())


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


def _products_on_jax(model: RNAN, shapes: dict[str, tuple[int, ...]]) -> Iterator[float]:
    import jax

    inputs = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
    jaxpr = jax.make_jaxpr(lambda inputs: _call(model, inputs))(inputs)
    return map(_multiply_adds_of_equation, _equations(jaxpr.jaxpr))


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in equation.params.values():  # of a function that is called, a custom gradient's among them
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def _multiply_adds_of_equation(equation):
    if equation.primitive.name == "conv_general_dilated":
        image, kernel, output = (variable.aval.shape for variable in (*equation.invars, *equation.outvars))
        transposed = max(equation.params["lhs_dilation"]) > 1
        return math.prod((image if transposed else output)[1:3]) * math.prod(kernel)
    if equation.primitive.name == "dot_general":
        (summed, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in summed)
    return 0
