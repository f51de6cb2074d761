"""RNAN as a whole: sizes, saving, padding, policies, arguments."""

import gc
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnan_tf import RNAN
from rnan_tf.network.model import least_parameters
from rnan_tf.network.variants import VARIANTS
from rnan_tf.weights import preset_path
from tests.helpers.network_variants import NETWORKS, SMALL, images, inputs_of, model_of, output, random_model, variants

# === Sizes ===


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"channels": 3}, 8_959_555),
        ({"channels": 1}, 8_957_249),
        ({"scale": 2}, 9_107_267),
        ({"scale": 3}, 9_291_907),
        ({"scale": 4}, 9_254_979),
    ],
    ids=str,
)
def test_parameters_of_the_paper(arguments, parameters):
    assert RNAN(**VARIANTS["rnan"], **arguments).count_params() == parameters


def test_parameters_of_the_lite_size():
    assert RNAN(**VARIANTS["rnan_lite"]).count_params() == 2_044_764


@variants
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 3), (33, 51)], ids=str)
def test_any_size(variant, size):
    model = model_of(variant)
    y = output(model, inputs_of(model, height=size[0], width=size[1]))
    assert y.shape == (2, model.scale * size[0], model.scale * size[1], model.channels)
    assert y.dtype == "float32"
    assert np.all(np.isfinite(y))


@variants
@pytest.mark.parametrize("size", [(1, 3), (7, 9), (10, 13)], ids=str)
def test_odd_sizes_are_reflected_and_cropped(variant, size):
    model = model_of(variant)
    inputs = inputs_of(model, height=size[0], width=size[1])
    image = inputs["image"] if model.conditional else inputs
    rest = [(0, -n % (2 * model.space_to_depth)) for n in size]
    padded = np.pad(image, [(0, 0), *rest, (0, 0)], mode="reflect")
    whole = output(model, {**inputs, "image": padded} if model.conditional else padded)
    cropped = whole[:, : size[0] * model.scale, : size[1] * model.scale]
    np.testing.assert_allclose(output(model, inputs), cropped, rtol=0, atol=2e-6)


# === Saving ===


@variants
def test_keras_file_round_trip(variant, tmp_path):
    """`load_model` is in safe mode by default, and needs no custom objects."""
    model = random_model(**NETWORKS[variant], name="some_name") if variant == "static_bfloat16" else model_of(variant)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is RNAN
    assert loaded.get_config() == model.get_config()
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    x = inputs_of(model)
    np.testing.assert_allclose(output(loaded, x), output(model, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["queries_gray", "conditional", "sr_x3", "static_bfloat16"])
def test_config_lists_exactly_the_arguments(variant):
    model = RNAN(**NETWORKS[variant], name="some_name")
    config = model.get_config()
    assert set(config) == set(inspect.signature(RNAN).parameters)
    assert config.items() >= {**NETWORKS[variant], "name": "some_name"}.items()
    assert RNAN.from_config(config).get_config() == config


def test_a_policy_object_is_saved_by_its_name():
    model = RNAN(**SMALL, dtype=keras.DTypePolicy("mixed_bfloat16"))
    assert model.get_config()["dtype"] == "mixed_bfloat16"
    assert RNAN.from_config(model.get_config()).get_layer("head").compute_dtype == "bfloat16"


@pytest.mark.parametrize("size", VARIANTS)
def test_a_size_is_constructor_arguments(size):
    model = RNAN(**{**VARIANTS[size], "filters": 8, "channels": 1})
    assert model.get_config().items() >= {**VARIANTS[size], "filters": 8, "channels": 1}.items()


def test_lite_super_resolution_keeps_the_resolution_of_its_input():
    model = RNAN(**VARIANTS["rnan_lite_sr"], scale=3)
    assert model.get_config().items() >= {"filters": 48, "space_to_depth": 1, "subpixel_tail": True}.items()
    assert RNAN(**VARIANTS["rnan"], scale=3).get_config().items() >= {"subpixel_tail": False}.items()


# === Presets ===


@pytest.fixture(scope="module")
def denoise_file():
    return keras.saving.load_model(preset_path("denoise"), compile=False)


def weights_differ(a, b):
    return any((x != y).any() for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_a_preset_is_its_file(denoise_file):
    model = RNAN.from_preset("denoise")
    assert type(model) is RNAN
    assert model.get_config() == {**denoise_file.get_config(), "dtype": None}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert not weights_differ(model, denoise_file)
    x = inputs_of(model)
    expected = output(denoise_file.rebuild(dtype="float32"), x)
    np.testing.assert_allclose(output(model, x), expected, rtol=0, atol=1e-6)
    assert np.abs(output(model, x) - x["image"]).max() > 1e-3  # it does something


def test_a_preset_without_its_weights(denoise_file):
    model = RNAN.from_preset("denoise", load_weights=False)
    assert model.get_config() == {**denoise_file.get_config(), "dtype": None}
    assert weights_differ(model, denoise_file)


def test_a_preset_takes_other_arguments(denoise_file):
    model = RNAN.from_preset("denoise", input_size=(9, 12), name="mine")
    assert (model.input_size, model.name) == ((9, 12), "mine") and not weights_differ(model, denoise_file)
    small = RNAN.from_preset("denoise", load_weights=False, filters=8, num_blocks=2)
    assert small.count_params() < denoise_file.count_params() / 10 and small.conditional
    with pytest.raises(ValueError, match="shape"):
        RNAN.from_preset("denoise", filters=8)


@pytest.mark.parametrize("size", VARIANTS)
def test_a_size_is_no_preset(size):
    message = f"'{size}' is a size and no preset: RNAN(**rnan_tf.VARIANTS['{size}']) builds it"
    with pytest.raises(ValueError, match=re.escape(message)):
        RNAN.from_preset(size)


@pytest.mark.parametrize("name", ["rnan_huge", "", "denoise.keras", "../weights/denoise"])
def test_an_unknown_preset(name):
    with pytest.raises(ValueError, match=rf"`preset` must be one of .*denoise, .*Received: '{re.escape(name)}'"):
        RNAN.from_preset(name)


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 7}, "`filters` must be even and at least 2. Received: 7"),
        ({"filters": 0}, "`filters` must be even and at least 2. Received: 0"),
        ({"num_blocks": 1}, "`num_blocks` must be at least 2. Received: 1"),
        ({"channels": 2}, "`channels` must be 3, or 1 where `scale` is 1. Received: 2"),
        ({"channels": 1, "scale": 2}, "`channels` must be 3, or 1 where `scale` is 1. Received: 1"),
        ({"scale": 5}, "`scale` must be 1, 2, 3 or 4. Received: 5"),
        ({"scale": 0}, "`scale` must be 1, 2, 3 or 4. Received: 0"),
        ({"space_to_depth": 0}, "`space_to_depth` must be at least 1. Received: 0"),
        ({"normalize_over": "rows"}, "`normalize_over` must be one of .*Received: 'rows'"),
        ({"chunk_size": 0}, "`chunk_size` must be at least 1. Received: 0"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RNAN(**{**SMALL, **arguments})


def test_a_missing_level_is_an_error():
    model = model_of("conditional")
    with pytest.raises(ValueError, match=r"level|expects 2 input"):  # by the version of Keras
        model(images())


# === What the network does ===


def test_the_level_changes_the_output_of_its_image_only():
    model = model_of("conditional")
    image = images()
    low, high, mixed = (
        output(model, {"image": image, "level": np.array(level, "float32")})
        for level in [(0.04, 0.04), (0.28, 0.28), (0.04, 0.28)]
    )
    assert np.abs(low - high).max() > 1e-2
    np.testing.assert_allclose(mixed, np.stack([low[0], high[1]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("space_to_depth", "subpixel_tail"), [(1, False), (1, True), (2, False)])
def test_a_zero_tail_leaves_the_skip(scale, space_to_depth, subpixel_tail):
    """Restoration adds to the image (enlarged bilinearly in a lite super-resolution); the paper's SR has no skip."""
    model = random_model(**SMALL, scale=scale, space_to_depth=space_to_depth, subpixel_tail=subpixel_tail)
    for variable in model.get_layer("tail").weights:
        variable.assign(np.zeros(variable.shape))
    x = images(8, 12)
    expected = tf.image.resize(x, (8 * scale, 12 * scale)).numpy()
    if scale > 1 and space_to_depth == 1 and not subpixel_tail:
        expected = np.broadcast_to(np.float32([0.4488, 0.4371, 0.4040]), expected.shape)
    np.testing.assert_allclose(output(model, x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"num_blocks": 10}, {"num_blocks": 4, "space_to_depth": 2}], ids=str)
def test_untrained_output_is_of_the_order_of_the_input(arguments):
    """With Keras' default initialisation, Glorot's, the first gives 25,000 to 350,000 and the second 100 to 190."""
    keras.utils.set_random_seed(0)
    y = output(RNAN(filters=16, **arguments), images(16, 16))
    assert np.abs(y).max() < 2  # measured 1.2 and 1.4


def test_value_range_is_undone_at_the_output():
    """The first convolution sees 255 times the image, and the last one's output is divided by it."""
    model = random_model(**SMALL, value_range=255.0)
    x = images()
    inner = keras.Model(model.inputs, [model.get_layer("to_range").output, model.get_layer("tail").output])
    ranged, tail = inner.predict_on_batch(x)
    np.testing.assert_allclose(ranged[:, :9], 255 * x, rtol=1e-6)
    np.testing.assert_allclose(output(model, x), x + tail[:, :9] / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_super_resolution_shifts_the_mean(scale):
    model = random_model(**SMALL, scale=scale, value_range=255.0)
    x = images(8, 12)
    inner = keras.Model(model.inputs, [model.get_layer("to_range").output, model.get_layer("tail").output])
    ranged, tail = inner.predict_on_batch(x)
    mean = np.float32([0.4488, 0.4371, 0.4040])
    np.testing.assert_allclose(ranged, 255 * (x - mean), rtol=0, atol=1e-4)
    np.testing.assert_allclose(output(model, x), tail / 255 + mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_least_parameters_are_a_little_below_the_truth(variant):
    model = RNAN(**VARIANTS[variant])
    least = least_parameters(model.filters, model.num_blocks, model.space_to_depth)
    assert 0.9 * model.count_params() < least <= model.count_params()


@pytest.mark.slow
def test_a_network_that_only_predicted_is_freed():
    """A gradient of our own in its graph would keep it for ever."""

    def graphs():
        gc.collect()
        return sum(issubclass(type(x), tf.Graph) for x in gc.get_objects())

    before = graphs()
    RNAN(**SMALL).predict(np.zeros((1, 24, 24, 3), "float32"), verbose=0)
    assert graphs() == before
