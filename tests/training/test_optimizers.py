"""rnan_tf.training.optimizers: Muon's steps against numpy's SVD and the formulas in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.training import optimizers
from rnan_tf.training.compilation import compile_model, inner_optimizer, make_optimizer
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.train_step import TrainedRNAN

TINY = {"filters": 8, "num_blocks": 2, "space_to_depth": 2}
RATE = 0.01


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return TrainedRNAN(**TINY)


def muon(model, **options):
    """Return the optimizer that a Muon run gets, with a constant rate."""
    config = TrainConfig(model="rnan_lite", optimizer="muon", steps=100, **options).resolved(False)
    optimizer = make_optimizer(model, config)
    optimizer._learning_rate = tf.constant(RATE)
    optimizer.build(model.trainable_variables)
    return optimizer


def gradients(model, seed):
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(tuple(v.shape)).astype("float32") for v in model.trainable_variables]


def as_matrix(kernel, path):
    kernel = kernel.swapaxes(2, 3) if "/up/" in path else kernel
    return kernel.reshape(-1, kernel.shape[-1])


def newton_schulz(matrix):
    """The formula of the reference's `zeropower_via_newtonschulz5`, in float64."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).astype(np.float64)
    x /= np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def steps(model, optimizer, seeds):
    """Take steps from the model's weights; return the weights before and after, which are put back."""
    before = [np.array(v) for v in model.trainable_variables]
    for seed in seeds:
        optimizer.apply([tf.constant(g) for g in gradients(model, seed)], model.trainable_variables)
    after = [np.array(v) for v in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    return before, after


def is_matrix(variable):
    return len(variable.shape) == 4 and variable.path.split("/")[0] not in ("head", "tail")


def test_a_kernels_step_has_its_gradients_singular_vectors_and_values_near_1(model):
    before, after = steps(model, muon(model), [1])
    count = 0
    for variable, old, new, gradient in zip(model.trainable_variables, before, after, gradients(model, 1), strict=True):
        if not is_matrix(variable):
            continue
        count += 1
        step, matrix = (as_matrix(x, variable.path) for x in ((old - new) / RATE, gradient))
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        inner = u.T @ step.astype(np.float64) @ vt.T / (0.2 * max(matrix.shape) ** 0.5)
        values = np.diag(inner)
        assert values.min() > 0.6 and values.max() < 1.3, variable.path
        assert np.abs(inner - np.diag(values)).max() < 1e-3, variable.path
    assert count == sum("kernel" in v.path for v in model.trainable_variables) - 2


@pytest.mark.parametrize("decay", [0, 0.5])
def test_two_steps_are_the_formulas(model, decay):
    before, after = steps(model, muon(model, weight_decay=decay), [1, 2])
    each = zip(model.trainable_variables, before, after, gradients(model, 1), gradients(model, 2), strict=True)
    for variable, old, new, first, second in each:
        expected = old.astype(np.float64)
        if is_matrix(variable):
            scale = 0.2 * max(as_matrix(old, variable.path).shape) ** 0.5
            momentum = np.zeros_like(expected)
            for gradient in (first, second):
                momentum = 0.95 * momentum + gradient
                step = newton_schulz(as_matrix(gradient + 0.95 * momentum, variable.path))
                height, width, a, b = old.shape
                transposed = "/up/" in variable.path
                step = step.reshape(height, width, b, a).swapaxes(2, 3) if transposed else step.reshape(old.shape)
                expected -= RATE * (scale * step + decay * expected)  # of kernels alone
        else:  # Adam
            m, v = np.zeros_like(expected), np.zeros_like(expected)
            for t, gradient in enumerate((first, second), 1):
                m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient.astype(np.float64) ** 2
                expected -= RATE * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(new, expected, rtol=0, atol=2e-5, err_msg=variable.path)


@pytest.mark.parametrize("stack", [2**16, 100])
def test_adam_is_keras_own_bit_for_bit(model, stack, monkeypatch):
    monkeypatch.setattr(optimizers, "STACK", stack)
    settings = {"learning_rate": RATE, "weight_decay": 0.1, "global_clipnorm": 1.0, "use_ema": True}
    found = []
    for optimizer in (keras.optimizers.Adam(**settings), optimizers.GuardedAdam(**settings)):
        optimizer.build(model.trainable_variables)
        _, after = steps(model, optimizer, [1, 2, 3])
        found.append([*after, *map(np.array, optimizer.variables)])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_nothing_decays_and_a_rank_1_gradient_is_no_trouble(model):
    optimizer = muon(model)
    assert optimizer.weight_decay is None and optimizer.adam_weight_decay is None
    before = [np.array(v) for v in model.trainable_variables]
    optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_its_configuration_makes_it_again(model):
    config = muon(model, weight_decay=0.1).get_config() | {"learning_rate": 0.5}
    assert optimizers.GuardedMuon.from_config(config).get_config() == config


def test_a_batch_in_pieces_is_the_whole_batch():
    draw = np.random.default_rng(0)
    batches = tuple(draw.random((3, 8, 16, 16, 3), np.float32) for _ in range(2))
    trained = []
    for accumulate in (1, 4):
        keras.utils.set_random_seed(0)
        model = TrainedRNAN(**TINY)
        options = {"steps": 3, "batch_size": 8, "accumulate": accumulate, "learning_rate": 1e-4}
        compile_model(model, TrainConfig(model="rnan_lite", **options).resolved(False))
        assert isinstance(inner_optimizer(model), optimizers.GuardedMuon)
        model.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
        trained.append(model.get_weights())
    # A gradient that is zero but for rounding moves its weight by as much as any other.
    for whole, pieces in zip(*trained, strict=True):
        np.testing.assert_allclose(whole, pieces, rtol=0, atol=1e-5)
