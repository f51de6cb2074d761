"""Adam and Muon that change nothing in a step whose gradient is not finite."""

import re
from collections import defaultdict
from collections.abc import Sequence

import keras
from keras import ops

if keras.backend.backend() == "jax":
    from rnan_tf.training.on_jax import ApplyIfFinite
else:
    from rnan_tf.training.on_tensorflow import ApplyIfFinite


class Guarded(ApplyIfFinite):
    """What both optimizers share: in a step whose gradient is not finite nothing changes, their own state included.

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


class GuardedAdam(Guarded, keras.optimizers.Adam):
    """Adam, guarded.

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """


class GuardedMuon(Guarded, keras.optimizers.Muon):
    """Muon on the kernels of convolutions, which Keras' own leaves to Adam; guarded.

    A kernel is the matrix (kernel height * kernel width * input channels, output channels). All that is no kernel, and
    the layers of `exclude_layers`, get Adam at the same rate. Kernels of one shape are orthogonalised together.

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

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Keras updates one variable at a time; a kernel's update brings along what all of its shape were needed for.
        directions = self._directions(grads, trainable_variables)
        grads = [(g, directions[i]) if i in directions else g for i, g in enumerate(grads)]
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _directions(self, grads, variables) -> dict:
        """Return the orthogonalised momentum of each kernel, after this step's gradient, by its place in the lists."""
        matrices = defaultdict(dict)
        for i, (gradient, variable) in enumerate(zip(grads, variables, strict=True)):
            index = self._get_variable_index(variable)
            if self.adam_velocities[index] is None:
                ahead = gradient + self.momentum * self._momentum_after(gradient, self.momentums[index])  # Nesterov's
                matrix = _as_matrix(ahead, self._transposed[index])
                matrices[tuple(matrix.shape)][i] = matrix
        directions = {}
        for shape, group in matrices.items():
            orthogonal = self.zeropower_via_newtonschulz5(ops.stack(list(group.values())), self.ns_steps)
            scaled = ops.unstack(orthogonal * (self.rms_rate * max(shape) ** 0.5), len(group))
            for i, matrix in zip(group, scaled, strict=True):
                transposed = self._transposed[self._get_variable_index(variables[i])]
                directions[i] = _as_kernel(matrix, tuple(variables[i].shape), transposed)
        return directions

    def _momentum_after(self, gradient, momentum):
        return gradient + self.momentum * ops.convert_to_tensor(momentum)

    def _muon_update_step(self, gradient, variable, lr, m):
        gradient, direction = gradient
        self.assign(m, self._momentum_after(gradient, m))
        self.assign_sub(variable, lr * direction)

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
