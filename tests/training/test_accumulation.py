"""A batch in pieces is the whole batch: gradients, clipping, weights and their average."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.cli.train import main
from rnan_tf.training.compilation import average_weights, compile_model, inner_optimizer
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.train_step import TrainedRNAN

BATCH, STEPS, CLIPNORM = 8, 4, 0.02


@pytest.fixture(scope="module")
def batches():
    draw = np.random.default_rng(0)
    return tuple(draw.random((STEPS, BATCH, 16, 16, 3), np.float32) for _ in range(2))


def trained(batches, **options):
    """Return a network after a step for each batch, and its history."""
    keras.utils.set_random_seed(0)
    options = {"optimizer": "adam", "clipnorm": CLIPNORM, **options}
    config = TrainConfig(model="rnan_lite", steps=STEPS, batch_size=BATCH, **options).resolved(False)
    model = TrainedRNAN(filters=8, num_blocks=2, space_to_depth=2)
    compile_model(model, config)
    history = model.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
    return model, history.history


@pytest.fixture(scope="module")
def whole(batches):
    return trained(batches)


@pytest.mark.slow
def test_pieces_are_the_whole_batch(batches, whole):
    model, history = trained(batches, accumulate=4)
    expected, expected_history = whole
    assert model.pieces == 4
    assert int(inner_optimizer(model).iterations) == STEPS  # not 4 * STEPS: schedule and data position agree
    for key in ("loss", "psnr"):
        np.testing.assert_allclose(history[key], expected_history[key], rtol=1e-6)
    # Sums in another order: a few float32 roundings (6e-8) of the largest. The moments show gradients and clipping.
    # Squares have twice the relative error.
    for kind, roundings in (("_momentums", 1e-6), ("_velocities", 2e-6)):
        ours, theirs = (flat(getattr(inner_optimizer(each), kind)) for each in (model, expected))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=roundings * np.abs(theirs).max())
    # A gradient that is zero but for rounding moves its weight by up to the rate: Adam divides by the gradient's size.
    # Here its epsilon prevents it; the steps (rate 1e-3) agree to a thousandth.
    for ours, theirs in ((model.weights, expected.weights), (average_weights(model), average_weights(expected))):
        np.testing.assert_allclose(flat(ours), flat(theirs), rtol=0, atol=1e-6)


def flat(arrays):
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(array)) for array in arrays])


def test_the_gradients_above_were_clipped(batches, whole):
    model, (x, y) = whole[0], batches
    with tf.GradientTape() as tape:
        loss = model.compute_loss(None, y[0], model(x[0]))
    assert tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables)) > 2 * CLIPNORM


def test_pieces_must_divide_the_batch(capsys):
    assert main(["--batch-size", "6", "--accumulate", "4"]) == 2
    assert "--accumulate 4 must divide --batch-size 6" in capsys.readouterr().err
