"""Conversion of the authors' weights against the numbers of the authors' code (tests/data/reference)."""

import functools

import keras
import numpy as np
import pytest

from rnan_tf.errors import InputError
from rnan_tf.network.reference_checkpoints import from_reference
from tests.helpers.reference import FIXTURES, model_of, reference, state_dict

STAGES = ["head", *(f"body_nl_low{part}" for part in (".trunk", ".nonlocal", ".mask", "")), "body", "body_nl_high"]

fixtures = pytest.mark.parametrize("fixture", FIXTURES)


def channels_last(x):
    return x.transpose(0, 2, 3, 1)


def image(fixture):
    return channels_last(reference(fixture)["input"]) / 255


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


@functools.cache
def activations(fixture):
    """Stage -> tensor, in float64.

    In float32 the gray fixture's mask is off by 1.5e-4, because its sigmoid's inputs are in the thousands; float64
    leaves the rounding of the reference's numbers alone.
    """
    model = model_of(fixture).rebuild(dtype="float64")
    # The reference adds the head's features into `body_nl_high` before it stores it, where it adds them.
    high = "add_head" if model.scale > 1 else "rnab_high"
    layers = {"head": "head", "body_nl_low": "rnab_low", "body": "body", "body_nl_high": high}
    outputs = keras.Model(model.inputs, {stage: model.get_layer(name).output for stage, name in layers.items()})
    stages = outputs.predict_on_batch(image(fixture))
    block = model.get_layer("rnab_low")
    trunk = h = block.head(stages["head"])
    for part in block.trunk:
        trunk = part(trunk)
    inside = {"trunk": trunk, "nonlocal": block.mask.attention(h), "mask": block.mask(h)}
    return {**stages, **{f"body_nl_low.{part}": np.asarray(value) for part, value in inside.items()}}


def test_every_stored_stage_is_compared():
    stored = {name for fixture in FIXTURES for name in reference(fixture) if name.startswith("activation/")}
    assert stored == {f"activation/{stage}" for stage in STAGES}


@fixtures
def test_output(fixture):
    y = model_of(fixture).predict_on_batch(image(fixture))
    assert y.dtype == "float32"
    assert relative_error(255 * y, channels_last(reference(fixture)["output"])) < 1e-5  # measured up to 5e-6 (gray)


@fixtures
@pytest.mark.parametrize("stage", STAGES)
def test_activation(fixture, stage):
    expected = channels_last(reference(fixture)[f"activation/{stage}"])
    # Measured: up to 8.3e-5 (the gray mask), all others under 3e-5.
    assert relative_error(activations(fixture)[stage], expected) < 1e-4


@pytest.mark.parametrize(
    ("fixture", "scale", "channels"), list(zip(FIXTURES, (1, 1, 2, 3, 4), (3, 1, 3, 3, 3), strict=True)), ids=str
)
def test_inferred_configuration(fixture, scale, channels):
    assert (
        model_of(fixture).get_config().items()
        >= {
            "filters": 16,
            "num_blocks": 3,
            "scale": scale,
            "channels": channels,
            "normalize_over": "queries",
            "value_range": 255.0,
            "conditional": False,
            "space_to_depth": 1,
        }.items()
    )


@fixtures
def test_every_tensor_is_used(fixture):
    """As many numbers in the model as in the checkpoint, without the fixed mean shift of super-resolution."""
    learned = [value for name, value in state_dict(fixture).items() if "_mean." not in name]
    assert model_of(fixture).count_params() == sum(value.size for value in learned)


def test_converted_model_survives_a_keras_file(tmp_path):
    model = model_of("sr_x3_f16_g3")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = image("sr_x3_f16_g3")
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), rtol=0, atol=1e-6)


# === Checkpoints that do not fit ===


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("restore_rgb_f16_g3", "head.0.weight"),
        ("restore_rgb_f16_g3", "body.0.body.1.weight"),
        ("restore_rgb_f16_g3", "body_nl_high.0.body.0.RA_MB.0.MB_RB1.0.W.bias"),
        ("sr_x2_f16_g3", "sub_mean.bias"),
        ("sr_x2_f16_g3", "tail.0.0.weight"),
        ("sr_x4_f16_g3", "tail.1.bias"),
    ],
)
def test_missing_tensor_is_named(fixture, name):
    with pytest.raises(InputError) as error:
        from_reference(state_dict(fixture, **{name: None}))
    assert f"missing {name}" in str(error.value)


@pytest.mark.parametrize("fixture", ["restore_rgb_f16_g3", "sr_x2_f16_g3"])
@pytest.mark.parametrize("name", ["optimizer.step", "body_nl_low.0.body.2.weight", "tail.7.bias"])
def test_left_over_tensor_is_named(fixture, name):
    with pytest.raises(InputError) as error:
        from_reference(state_dict(fixture, **{name: np.zeros(16, "float32")}))
    assert str(error.value).endswith(f"missing none; left over {name}")


@pytest.mark.parametrize(
    ("fixture", "name", "shape"),
    [
        ("restore_rgb_f16_g3", "body.0.body.1.weight", (16, 16, 5, 5)),
        ("restore_rgb_f16_g3", "body_nl_low.0.body.0.RA_MB.0.MB_Up.0.weight", (16, 16, 3, 3)),
        ("restore_rgb_f16_g3", "head.0.weight", (16, 3, 5, 5)),
        ("restore_rgb_f16_g3", "tail.0.weight", (3,)),
        ("restore_rgb_f16_g3", "tail.0.bias", (16,)),
        ("sr_x2_f16_g3", "tail.0.0.weight", (48, 16, 3, 3)),
        ("sr_x3_f16_g3", "tail.0.0.bias", (16,)),
    ],
)
def test_wrong_shape_is_named(fixture, name, shape):
    with pytest.raises(InputError) as error:
        from_reference(state_dict(fixture, **{name: np.zeros(shape, "float32")}))
    assert f"{name} has shape {shape}" in str(error.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((15, 3, 3, 3), "`filters` must be even"), ((16, 2, 3, 3), "`channels` must be 3"), ((16,), "head.0.weight")],
)
def test_a_head_of_no_rnan(shape, message):
    with pytest.raises(InputError, match=message):
        from_reference(state_dict("restore_rgb_f16_g3", **{"head.0.weight": np.zeros(shape, "float32")}))


@pytest.mark.parametrize("name", ["sub_mean", "add_mean"])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_another_mean_shift_is_refused(name, part):
    tensor = f"{name}.{part}"
    changed = state_dict("sr_x2_f16_g3")[tensor] + 0.1
    with pytest.raises(InputError, match=f"{name} is not the DIV2K mean shift"):
        from_reference(state_dict("sr_x2_f16_g3", **{tensor: changed}))


def test_a_checkpoint_of_something_else():
    with pytest.raises(InputError, match=r"missing head\.0\.weight"):
        from_reference({"conv1.weight": np.zeros((64, 3, 7, 7))})
