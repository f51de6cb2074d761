"""Adam and Muon that change nothing in a step whose gradient is not finite."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import keras
from keras import ops

if keras.backend.backend() == "jax":
    from rnan_tf.training.on_jax import ApplyIfFinite
else:
    from rnan_tf.training.on_tensorflow import ApplyIfFinite

# Numbers in a stack: more would no longer stay in the cache of a processor's core.
STACK = 2**16


class Guarded(ApplyIfFinite):
    """What both optimizers share: in a step whose gradient is not finite nothing changes, their own state included.

    Variables of one shape are updated as one. Keras' optimizers take some 50 operations for each variable, though half
    of RNAN's are biases of a few numbers: three quarters of a step's operations, and of the time to trace it. The
    numbers are the same, bit for bit.

    Attributes:
        rate_factor: the learning rate is the schedule's times this number, a constant of the compiled step.
    """

    rate_factor = 1.0

    @property
    def learning_rate(self):
        return super().learning_rate * self.rate_factor

    def finalize_variable_values(self, var_list):
        # Keras' own ends a fit by writing the moving average over the weights, from which training could not go on.
        pass

    def _apply_weight_decay(self, variables):
        if self.weight_decay:
            variables, rate = self._decaying(variables), self.learning_rate
            (decayed,) = _together(lambda x: (x - x * self.weight_decay * rate,), variables)
            self.assign_all(variables, decayed)

    def _decaying(self, variables):
        return variables

    def _update_model_variables_moving_average(self, variables):
        averages = self._model_variables_moving_average
        # The first average is the first step's weights.
        momentum = ops.cast(ops.not_equal(self.iterations, 0), "float32") * self.ema_momentum
        (updated,) = _together(lambda x, average: (momentum * average + (1 - momentum) * x,), variables, averages)
        self.assign_all(averages, updated)

    def _adam_step(self, gradients, variables, momentums, velocities, rate, beta_1, beta_2):
        step = ops.cast(self.iterations + 1, "float32")
        alpha = rate * ops.sqrt(1 - ops.power(beta_2, step)) / (1 - ops.power(beta_1, step))

        def update(gradient, x, m, v):
            m = m + (gradient - m) * (1 - beta_1)
            v = v + (ops.square(gradient) - v) * (1 - beta_2)
            return x - m * alpha / (ops.sqrt(v) + self.epsilon), m, v

        updated = _together(update, gradients, variables, momentums, velocities)
        for each, values in zip((variables, momentums, velocities), updated, strict=True):
            self.assign_all(each, values)


class GuardedAdam(Guarded, keras.optimizers.Adam):
    """Adam, guarded.

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self._adam_step(
            grads, trainable_variables, self._momentums, self._velocities, learning_rate, self.beta_1, self.beta_2
        )


class GuardedMuon(Guarded, keras.optimizers.Muon):
    """Muon on the kernels of convolutions, which Keras' own leaves to Adam; guarded.

    A kernel is the matrix (kernel height * kernel width * input channels, output channels). All that is no kernel, and
    the layers of `exclude_layers`, get Adam at the same rate, and do not decay.

    Args:
        learning_rate: as of `keras.optimizers.Muon`, whose other arguments it takes too.
        transposed_layers: patterns of the paths of transposed convolutions' kernels, (height, width, output, input).

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale 0.2 *
    sqrt(larger side), by which it takes Adam's rates, and the weight decay: Liu et al., "Muon is Scalable for LLM
    Training", 2025.
    """

    def __init__(self, learning_rate, *, transposed_layers: Sequence[str] = (), **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.transposed_layers = list(transposed_layers)

    def build(self, var_list):
        if not self.built:
            self._transposed = [any(re.search(key, var.path) for key in self.transposed_layers) for var in var_list]
        super().build(var_list)

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or any(re.search(key, variable.path) for key in self.exclude_layers)

    def _decaying(self, variables):
        return [variable for variable in variables if not self._should_use_adamw(variable)]

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        slots = zip(grads, trainable_variables, self.momentums, self.adam_velocities, self._transposed, strict=True)
        kernels, others = [], []
        for gradient, variable, momentum, velocity, transposed in slots:
            if velocity is None:
                kernels.append((gradient, variable, momentum, transposed))
            else:
                others.append((gradient, variable, momentum, velocity))
        self._adam_step(*zip(*others, strict=True), learning_rate, self.adam_beta_1, self.adam_beta_2)
        self._muon_step(*zip(*kernels, strict=True), learning_rate)

    def _muon_step(self, gradients, variables, momentums, transposed, rate):
        def update(gradient, momentum):
            momentum = gradient + self.momentum * momentum
            return momentum, gradient + self.momentum * momentum  # Nesterov's

        updated, ahead = _together(update, gradients, momentums)
        self.assign_all(momentums, updated)
        ahead = [_as_matrix(*each) for each in zip(ahead, transposed, strict=True)]
        (directions,) = _together(self._orthogonal, ahead, whole=True)
        directions = [
            _as_kernel(matrix, tuple(variable.shape), turned)
            for matrix, variable, turned in zip(directions, variables, transposed, strict=True)
        ]
        (moved,) = _together(lambda x, direction: (x - rate * direction,), variables, directions)
        self.assign_all(variables, moved)

    def _orthogonal(self, matrices):
        scale = self.rms_rate * max(matrices.shape[1:]) ** 0.5
        return (self.zeropower_via_newtonschulz5(matrices, self.ns_steps) * scale,)

    def get_config(self):
        return {**super().get_config(), "transposed_layers": self.transposed_layers}


def _as_matrix(kernel, transposed):
    if transposed:
        kernel = ops.swapaxes(kernel, 2, 3)
    return ops.reshape(kernel, (-1, kernel.shape[3]))


def _as_kernel(matrix, shape, transposed):
    height, width, first, last = shape
    if not transposed:
        return ops.reshape(matrix, shape)
    return ops.swapaxes(ops.reshape(matrix, (height, width, last, first)), 2, 3)


def _together(function, *lists, whole: bool = False) -> tuple[list, ...]:
    """Return what a function returns for each place of some lists, computed on stacks of one shape.

    Args:
        function: of one stack of each list; returns a tuple of stacks. The leading axis is the stacks'.
        *lists: of tensors or variables, of one length.
        whole: stacks of any size.

    Returns:
        A list for each of the function's results.
    """
    rows = list(zip(*lists, strict=True))
    groups = defaultdict(list)
    for place, (tensor, *_) in enumerate(rows):
        groups[tuple(tensor.shape)].append(place)
    found = {}
    for shape, group in groups.items():
        count = len(group) if whole else max(STACK // math.prod(shape), 1)
        for start in range(0, len(group), count):
            places = group[start : start + count]
            columns = zip(*(rows[place] for place in places), strict=True)
            results = function(*(ops.stack([_value(tensor) for tensor in column]) for column in columns))
            results = [ops.unstack(result, len(places)) for result in results]
            found.update(zip(places, zip(*results, strict=True), strict=True))
    return tuple(map(list, zip(*(found[place] for place in range(len(rows))), strict=True)))


def _value(tensor):
    return tensor.value if isinstance(tensor, keras.Variable) else tensor
