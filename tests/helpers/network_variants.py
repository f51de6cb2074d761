"""Small networks of each design, for the tests of RNAN."""

import functools

import numpy as np
import pytest

from rnan_tf import RNAN

SMALL = {"filters": 8, "num_blocks": 2}
NETWORKS = {
    "paper": {"filters": 8, "num_blocks": 3},
    "queries_gray": {**SMALL, "channels": 1, "normalize_over": "queries", "value_range": 255.0, "chunk_size": 7},
    "lite": {**SMALL, "space_to_depth": 2},
    "conditional": {**SMALL, "conditional": True, "space_to_depth": 2},
    "sr_x2": {**SMALL, "scale": 2},
    "sr_x3": {**SMALL, "scale": 3},
    "sr_half_x2": {**SMALL, "scale": 2, "space_to_depth": 2},
    "sr_lite_x3": {**SMALL, "scale": 3, "subpixel_tail": True},
    "static_bfloat16": {
        **SMALL,
        "input_size": (9, 12),
        "dtype": "mixed_bfloat16",
        "metadata": {"task": "denoise", "level": 50},
    },
}
variants = pytest.mark.parametrize("variant", NETWORKS)


def images(height=9, width=12, channels=3, batch=2, seed=0):
    return np.random.default_rng(seed).random((batch, height, width, channels), dtype="float32")


def inputs_of(model, **size):
    image = images(channels=model.channels, **size)
    return {"image": image, "level": np.full(len(image), 0.1, "float32")} if model.conditional else image


def random_model(seed=0, **arguments):
    """Biases and the non-local blocks' W start at zero, which would hide mistakes."""
    model = RNAN(**arguments)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(2 * fan_in))
    return model


@functools.cache
def model_of(variant):
    """The variant in float32 and for all sizes, built once; tests leave it as it is."""
    return random_model(**{**NETWORKS[variant], "input_size": None, "dtype": None})


def output(model, inputs):
    return np.asarray(model(inputs))
