"""RNAN.rebuild: the same weights at a static size, in another precision."""

import keras
import numpy as np
import pytest

from rnan_tf import RNAN
from tests.helpers.network_variants import SMALL, images, inputs_of, model_of, output, variants


@variants
def test_rebuild_with_a_static_size_gives_the_same(variant):
    model = model_of(variant)
    static = model.rebuild(input_size=(9, 12))
    assert static.get_config() == {**model.get_config(), "input_size": (9, 12)}
    assert [x.shape for x in static.inputs] == [(None, 9, 12, model.channels), *[(None,)] * model.conditional]
    assert static.output.shape == (None, 9 * model.scale, 12 * model.scale, model.channels)
    assert model.output.shape == (None, None, None, model.channels)
    x = inputs_of(model)
    np.testing.assert_allclose(output(static, x), output(model, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["paper", "lite"])
def test_static_size_of_one_pixel(variant):
    model = model_of(variant)
    static = model.rebuild(input_size=(1, 1))
    np.testing.assert_allclose(output(static, images(1, 1)), output(model, images(1, 1)), rtol=0, atol=1e-6)


@variants
def test_rebuild_in_bfloat16(variant):
    # With random weights and a range of 255, softmax and sigmoid only switch, on rounding errors.
    model = model_of(variant) if variant != "queries_gray" else model_of(variant).rebuild(value_range=1.0)
    mixed = model.rebuild(dtype="mixed_bfloat16")
    assert mixed.get_layer("rnab_high").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in mixed.weights} == {"float32"}
    for ours, theirs in zip(model.get_weights(), mixed.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    x = inputs_of(model)
    expected, actual = output(model, x), output(mixed, x)
    assert actual.dtype == "float32"
    difference = np.abs(actual - expected).max()
    assert 0 < difference < 2e-2 * np.abs(expected).max()  # measured up to 1.2e-2


def test_a_global_policy_spares_the_image():
    """The image is added to the tail in float32, or the best PSNR would be that of an image in bfloat16 (60 dB)."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = RNAN(**SMALL)
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("head").compute_dtype == "bfloat16"
    for variable in model.get_layer("tail").weights:
        variable.assign(np.zeros(variable.shape))
    np.testing.assert_array_equal(output(model, images()), images())


def test_rebuild_refuses_another_shape():
    with pytest.raises(ValueError, match="shape"):
        RNAN(**SMALL).rebuild(filters=16)
