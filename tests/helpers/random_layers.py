"""What the tests of layers share: layers of random weights, and random inputs."""

import numpy as np

FILTERS = 8
IMAGE, SMALL, LEVEL = (2, 6, 10, FILTERS), (2, 5, 7, 3), (2,)


def many(function, shapes):
    return [function(shape) for shape in shapes] if isinstance(shapes, list) else function(shapes)


def random_input(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return many(lambda shape: rng.normal(size=shape).astype("float32"), shapes)


def randomize(layer, seed=0):
    """Biases and the non-local block's W start at zero, which would hide mistakes."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(fan_in))
    return layer


def built(cls, kwargs, shapes, **more):
    layer = cls(**kwargs, **more)
    layer(random_input(shapes))
    return randomize(layer)
