"""Optimizer, learning rate, loss and metric."""

import re

import keras
from keras import ops

from rnan_tf.training.config import TrainConfig
from rnan_tf.training.optimizers import GuardedAdam, GuardedMuon
from rnan_tf.training.train_step import TrainedRNAN

# The paper halves the rate every 200 of about 1,000 epochs.
HALVINGS = 5


def learning_rate(config: TrainConfig) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the rate over the steps: a linear warm-up, then half a cosine down to 0, or five halvings."""
    warmup = min(config.warmup_steps, config.steps // 10)
    if config.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else config.learning_rate,
            decay_steps=config.steps - warmup,
            warmup_target=config.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    return WarmupThenHalve(config.learning_rate, warmup, max(config.steps // HALVINGS, 1))


@keras.saving.register_keras_serializable("rnan_tf")
class WarmupThenHalve(keras.optimizers.schedules.LearningRateSchedule):
    """Rise linearly, then halve after every so many steps.

    Args:
        rate: the highest rate.
        warmup_steps: steps of the rise.
        halve_every: steps between halvings.
    """

    def __init__(self, rate: float, warmup_steps: int, halve_every: int):
        self.rate, self.warmup_steps, self.halve_every = rate, warmup_steps, halve_every

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = ops.minimum((step + 1) / max(self.warmup_steps, 1), 1.0)
        return self.rate * rise * 0.5 ** ops.floor(step / self.halve_every)

    def get_config(self):
        return {"rate": self.rate, "warmup_steps": self.warmup_steps, "halve_every": self.halve_every}


def psnr(clean, restored):
    """Return the PSNR of each image of a batch, range [0, 1], for the progress bar."""
    error = ops.mean(ops.square(ops.clip(restored, 0.0, 1.0) - clean), axis=(1, 2, 3))
    return -10.0 * ops.log10(ops.maximum(error, 1e-10))


def make_optimizer(model: TrainedRNAN, config: TrainConfig) -> GuardedAdam | GuardedMuon:
    """Return the optimizer that a configuration asks for; every argument is given, as Keras' defaults may change."""
    settings = {
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clipnorm or None,
        "use_ema": True,
        "ema_momentum": config.ema_momentum,
        "epsilon": 1e-7,
    }
    if config.optimizer == "adam":
        return GuardedAdam(learning_rate(config), beta_1=0.9, beta_2=0.999, amsgrad=False, **settings)
    layers = model._flatten_layers()
    return GuardedMuon(
        learning_rate(config),
        adam_beta_1=0.9,
        adam_beta_2=0.999,
        adam_weight_decay=None,
        adam_lr_ratio=1,
        exclude_layers=["^head/", "^tail/"],
        transposed_layers=[re.escape(x.kernel.path) for x in layers if isinstance(x, keras.layers.Conv2DTranspose)],
        momentum=0.95,
        nesterov=True,
        ns_steps=5,
        muon_a=3.4445,
        muon_b=-4.7750,
        muon_c=2.0315,
        rms_rate=0.2,
        **settings,
    )


def compile_model(model: TrainedRNAN, config: TrainConfig) -> None:
    """Compile a model for training by a configuration."""
    optimizer = make_optimizer(model, config)
    if config.precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = {"l1": "mean_absolute_error", "l2": "mean_squared_error"}[config.loss]
    # Of TensorFlow, XLA is slower than the plain graph on CPUs, and cannot compile the attention's loop over an unknown
    # size. JAX without it would run one operation at a time.
    model.compile(optimizer, loss, weighted_metrics=[psnr], jit_compile=keras.backend.backend() == "jax")
    model.pieces = config.accumulate
    # Under a strategy variables are made in its scope, by all workers at a time.
    optimizer.build(model.trainable_variables)
    # Keras would make the variables of loss and metrics while it traces the first step, and then trace it once more.
    blank = ops.zeros((1, 1, 1, model.channels))
    model.compute_loss(None, blank, blank)
    model.compute_metrics(None, blank, blank)


def inner_optimizer(model: TrainedRNAN) -> GuardedAdam | GuardedMuon:
    """Return the optimizer that holds the state, without the one that scales the loss of float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def set_rate_factor(model: TrainedRNAN, factor: float) -> None:
    """Multiply the schedule's learning rate by a number, from the next `fit` on."""
    optimizer = inner_optimizer(model)
    if optimizer.rate_factor != factor:
        optimizer.rate_factor = factor
        model.make_train_function(force=True)


def average_weights(model: TrainedRNAN) -> list:
    """Return the moving average of the trained weights, as numpy arrays in the order of `model.weights`."""
    # Keras' own SwapEMAWeights reads the same attribute; its swap on TensorFlow would round the weights.
    return [ops.convert_to_numpy(average) for average in inner_optimizer(model)._model_variables_moving_average]
