"""A step on JAX, one program over all devices. Keras' `fit` compiles it, and keeps all variables as its arguments."""

import jax
import keras
from keras import ops

from rnan_tf.network.model import RNAN


class Step(RNAN):
    """An `RNAN` with JAX's `train_step`; `rnan_tf.training.train_step` has what the backends share."""

    def train_step(self, state, data):
        weights, others, optimizer_state, metrics = state
        x, y = data

        def gradients(x, y):
            compute = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
            options = {"training": True, "optimizer_variables": optimizer_state}
            (_, (loss, outputs, *_)), found = compute(weights, others, metrics, x, y, None, **options)
            return (found, loss), outputs

        if self.pieces > 1:
            (found, loss), outputs, y = _in_pieces(gradients, self.pieces, x, y)
        else:
            (found, loss), outputs = gradients(x, y)
        # A loss that is not finite may have a finite gradient: of |Inf| it is 1.
        found[0] += loss - loss
        weights, optimizer_state = self.optimizer.stateless_apply(optimizer_state, found, weights)
        variables = [*self.metrics_variables, *self.optimizer.variables]
        values = [*metrics, *optimizer_state]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            logs = self.updated_metrics(y, outputs, loss)
        metrics = [scope.get_current_value(variable) for variable in self.metrics_variables]
        return logs, (weights, others, optimizer_state, metrics)


def _in_pieces(gradients, count, x, y):
    """Return the mean of the pieces' gradients and losses, and in one order what came out and what should."""
    # Every count-th patch, so that each piece is spread over the devices as the batch is.
    pieces = jax.tree.map(lambda t: t.reshape(-1, count, *t.shape[1:]).swapaxes(0, 1), (x, y))

    def add_piece(total, piece):
        found, outputs = gradients(*piece)
        return jax.tree.map(lambda a, b: a + b / count, total, found), outputs

    shapes, _ = jax.eval_shape(gradients, *jax.tree.map(lambda t: t[0], pieces))
    nothing = jax.tree.map(lambda t: ops.zeros(t.shape, t.dtype), shapes)
    found, outputs = jax.lax.scan(add_piece, nothing, pieces)
    return found, *(t.reshape(-1, *t.shape[2:]) for t in (outputs, pieces[1]))


class ApplyIfFinite:
    """What makes an optimizer change nothing, its own state included, in a step whose gradient is not finite."""

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        # Float16's optimizer hands over variables, which a condition cannot return.
        before = [list(map(ops.convert_to_tensor, each)) for each in (trainable_variables, optimizer_variables)]
        finite = ops.isfinite(sum(ops.sum(ops.square(gradient)) for gradient in grads))
        apply = super().stateless_apply
        return ops.cond(finite, lambda: list(apply(before[1], grads, before[0])), lambda: before)

    def assign_all(self, variables, values):
        """Give each variable its value."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
