"""A step on TensorFlow: gradients from a tape, summed over the devices of the strategy."""

import tensorflow as tf

from rnan_tf.network.model import RNAN


class Step(RNAN):
    """An `RNAN` with TensorFlow's `train_step`; `rnan_tf.training.train_step` has what the backends share."""

    def train_step(self, data):
        x, y = data
        if self.pieces == 1:
            gradients, loss, outputs = self._gradients(x, y)
        else:
            gradients, loss, outputs = self._gradients_in_pieces(x, y)
        # A loss that is not finite may have a finite gradient: of |Inf| it is 1.
        gradients[0] += loss - loss
        # Summed over the devices before the optimizer clips them and looks whether they are finite.
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        # A device's loss is its share of the whole.
        return self.updated_metrics(y, outputs, loss * tf.distribute.get_strategy().num_replicas_in_sync)

    def _gradients(self, x, y):
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x, y, outputs)
            scaled = self.optimizer.scale_loss(loss)
        return tape.gradient(scaled, self.trainable_variables), loss, outputs

    def _gradients_in_pieces(self, x, y):
        """Mean of the pieces' gradients. In a loop: TensorFlow would compute unrolled pieces at the same time."""
        count = self.pieces
        pieces = tf.nest.map_structure(lambda t: tf.reshape(t, (count, -1, *t.shape[1:])), (x, y))

        def add_piece(i, gradients, loss, outputs):
            more, piece_loss, restored = self._gradients(*tf.nest.map_structure(lambda t: t[i], pieces))
            gradients = [total + gradient / count for total, gradient in zip(gradients, more, strict=True)]
            return i + 1, gradients, loss + piece_loss / count, outputs.write(i, restored)

        start = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        _, gradients, loss, outputs = tf.while_loop(
            lambda i, *_: i < count,
            add_piece,
            (0, start, tf.zeros(()), tf.TensorArray(tf.float32, count, element_shape=(None, *y.shape[1:]))),
            parallel_iterations=1,
        )
        return gradients, loss, outputs.concat()


class ApplyIfFinite:
    """What makes an optimizer change nothing, its own state included, in a step whose gradient is not finite.

    It takes gradients that are summed over the devices already.
    """

    def apply(self, grads, trainable_variables=None):
        finite = tf.math.is_finite(tf.linalg.global_norm(grads))
        # Assignments to mirrored variables meet across the devices, which a condition on one device must not contain.
        tf.distribute.get_replica_context().merge_call(self._apply_if, (finite, grads, trainable_variables))

    def _apply_if(self, strategy, finite, grads, trainable_variables):
        def apply():
            strategy.extended.call_for_each_replica(super(ApplyIfFinite, self).apply, (grads, trainable_variables))

        tf.cond(strategy.experimental_local_results(finite)[0], apply, lambda: None)

    def assign_all(self, variables, values):
        """Give each variable its value, on every device that device's own."""
        tf.distribute.get_replica_context().merge_call(self._assign_each, (variables, values))

    def _assign_each(self, strategy, variables, values):
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable.value, lambda x, new: x.assign(new), (value,), group=False)
