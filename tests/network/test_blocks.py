"""Every layer: the contract of a Keras layer."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.network.blocks import LevelChannel, MaskBranch, NonLocalBlock, ResidualAttentionBlock, ResidualBlock, conv
from rnan_tf.network.resampling import CropLike, Enlarge, PadToMultiple, PixelShuffle
from tests.helpers.random_layers import FILTERS, IMAGE, LEVEL, SMALL, built, many, random_input, randomize

NON_LOCAL = {"filters": FILTERS, "non_local": True, "normalize_over": "queries", "chunk_size": 7}

# Layer, arguments none of which is a default, input shape or shapes, output shape.
CASES = [
    (ResidualBlock, {"filters": FILTERS, "kernel_size": 5}, IMAGE, IMAGE),
    (NonLocalBlock, {"filters": FILTERS, "normalize_over": "queries", "chunk_size": 7}, IMAGE, IMAGE),
    (MaskBranch, NON_LOCAL, IMAGE, IMAGE),
    (ResidualAttentionBlock, NON_LOCAL, IMAGE, IMAGE),
    (ResidualAttentionBlock, {**NON_LOCAL, "non_local": False}, IMAGE, IMAGE),
    (PixelShuffle, {"scale": 2}, IMAGE, (2, 12, 20, 2)),
    (PixelShuffle, {"scale": 2, "inverse": True}, IMAGE, (2, 3, 5, 32)),
    (PadToMultiple, {"multiple": 4}, IMAGE, (2, 8, 12, FILTERS)),
    (CropLike, {"scale": 2}, [(2, 12, 20, FILTERS), SMALL], (2, 10, 14, FILTERS)),
    (Enlarge, {"scale": 3}, IMAGE, (2, 18, 30, FILTERS)),
    (LevelChannel, {}, [IMAGE, LEVEL], (2, 6, 10, FILTERS + 1)),
]

cases = pytest.mark.parametrize(
    ("cls", "kwargs", "shapes", "output_shape"), CASES, ids=lambda x: getattr(x, "__name__", "")
)
learned = pytest.mark.parametrize(
    ("cls", "kwargs", "shapes", "output_shape"), CASES[:5], ids=lambda x: getattr(x, "__name__", "")
)


def unknown(shape):
    return (None, *[None] * (len(shape) - 2), shape[-1]) if len(shape) > 1 else (None,)


@cases
@pytest.mark.parametrize("through", ["config", "keras.saving"])
def test_config_round_trip(cls, kwargs, shapes, output_shape, through):
    layer = cls(**kwargs, name="some_name", dtype="mixed_bfloat16")
    if through == "config":
        copy = cls.from_config(layer.get_config())
    else:
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is cls
    assert copy.get_config() == layer.get_config()
    assert copy.name == "some_name"
    assert copy.compute_dtype == "bfloat16"
    for argument in kwargs:
        assert getattr(copy, argument) == layer.get_config()[argument] == kwargs[argument]


@cases
def test_config_lists_exactly_the_arguments(cls, kwargs, shapes, output_shape):
    inherited = set(keras.layers.Layer(name="base").get_config())
    own = vars(cls).get("__init__", lambda self: None)
    arguments = set(inspect.signature(own).parameters) - {"self", "kwargs"}
    assert set(cls(**kwargs).get_config()) - inherited == arguments


@learned
def test_copies_compute_the_same(cls, kwargs, shapes, output_shape):
    """An argument that the config restores but that no part of the layer received would show here."""
    layer = built(cls, kwargs, shapes)
    copy = cls.from_config(layer.get_config())
    copy.build(shapes)
    copy.set_weights(layer.get_weights())
    x = random_input(shapes, seed=1)
    np.testing.assert_allclose(copy(x), layer(x), rtol=0, atol=1e-6)


@cases
def test_output_shapes(cls, kwargs, shapes, output_shape):
    layer = cls(**kwargs)
    assert tuple(layer.compute_output_shape(shapes)) == output_shape
    assert tuple(layer(random_input(shapes)).shape) == output_shape
    symbolic = cls(**kwargs)(many(lambda shape: keras.Input(shape[1:], shape[0]), shapes))
    assert tuple(symbolic.shape) == output_shape


@cases
def test_output_shapes_where_sizes_are_unknown(cls, kwargs, shapes, output_shape):
    layer = cls(**kwargs)
    assert tuple(layer.compute_output_shape(many(unknown, shapes))) == unknown(output_shape)
    inputs = many(lambda shape: keras.Input(unknown(shape)[1:]), shapes)
    model = keras.Model(inputs, layer(inputs))
    assert tuple(model.output.shape) == unknown(output_shape)
    y = model.predict_on_batch(random_input(shapes))
    assert y.shape == output_shape


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(cls, kwargs, shapes, output_shape, dtype):
    layer = cls(**kwargs, dtype=dtype)
    assert layer(random_input(shapes)).dtype == dtype
    assert {variable.dtype for variable in layer.weights} <= {dtype}


@cases
# Measured error, relative to the largest output: up to 1.3e-2 and 1.3e-3.
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 2e-2), ("mixed_float16", 2e-3)])
def test_mixed_precision(cls, kwargs, shapes, output_shape, policy, tolerance):
    layer = cls(**kwargs, dtype=policy)
    x = random_input(shapes)
    y = layer(x)
    assert y.dtype == layer.compute_dtype == policy.removeprefix("mixed_")
    assert {variable.dtype for variable in layer.weights} <= {"float32"}
    assert {part.compute_dtype for part in layer._flatten_layers()} == {layer.compute_dtype}
    full = cls(**kwargs, dtype="float32")
    full(x)
    full.set_weights(randomize(layer).get_weights())
    expected = np.asarray(full(x))
    assert np.abs(tf.cast(layer(x), "float32") - expected).max() < tolerance * np.abs(expected).max()


@learned
def test_gradients_reach_every_weight(cls, kwargs, shapes, output_shape):
    layer = built(cls, kwargs, shapes)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(random_input(shapes, seed=1)) ** 2)
    for variable, gradient in zip(layer.weights, tape.gradient(loss, layer.trainable_variables), strict=True):
        # theta's bias adds the same to the scores of all queries, over which this softmax is taken: no effect.
        assert np.abs(gradient).max() > 1e-3 or variable.path.endswith("theta/bias"), variable.path


def test_convolutions_start_as_the_reference():
    """A uniform of bound 1 / sqrt(fan_in), as PyTorch's default; biases at zero."""
    layer = conv(64, 3)
    layer.build((None, None, None, 16))
    kernel = np.asarray(layer.kernel)
    bound = 1 / np.sqrt(9 * 16)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert np.std(kernel) == pytest.approx(bound / np.sqrt(3), rel=0.03)
    assert not np.any(layer.bias)


def test_a_transposed_convolution_starts_as_the_others():
    mask = MaskBranch(16)
    mask.build((None, None, None, 16))
    bound = 1 / np.sqrt(36 * 16)
    assert 0.99 * bound < np.abs(mask.up.kernel).max() <= bound
