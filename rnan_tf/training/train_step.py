"""One optimizer step: its gradients, computed in pieces if need be, and its metrics."""

import tensorflow as tf

from rnan_tf.network.model import RNAN


class TrainedRNAN(RNAN):
    """An `RNAN` whose `fit` can compute a batch in pieces, and whose metrics leave out what is not finite.

    Keras' own `gradient_accumulation_steps` moves the average of the weights and the schedule with every piece.

    `fit`'s logs also have the loss of the last step alone, as `step_loss`; 0 if it was not finite.

    Attributes:
        pieces: into how many parts a batch (a device's share of it) is cut; it must be a multiple of them.
    """

    pieces = 1

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
        return self._updated_metrics(y, outputs, loss)

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

    def _updated_metrics(self, y, outputs, loss):
        finite = tf.math.is_finite(loss)
        counts = tf.fill(tf.shape(y)[:1], tf.cast(finite, tf.float32))
        # A device's loss is its share of the whole.
        loss = tf.where(finite, loss * tf.distribute.get_strategy().num_replicas_in_sync, 0.0)
        tracker = next(metric for metric in self.metrics if metric.name == "loss")
        tracker.update_state(loss, sample_weight=tf.reduce_sum(counts))
        y, outputs = (tf.where(finite, images, 0.0) for images in (y, outputs))
        return {**self.compute_metrics(None, y, outputs, sample_weight=counts), "step_loss": loss}
