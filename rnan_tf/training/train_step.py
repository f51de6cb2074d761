"""One optimizer step: its gradients, computed in pieces if need be, and its metrics."""

import keras
from keras import ops

if keras.backend.backend() == "jax":
    from rnan_tf.training.on_jax import Step
else:
    from rnan_tf.training.on_tensorflow import Step


class TrainedRNAN(Step):
    """An `RNAN` whose `fit` can compute a batch in pieces, and whose metrics leave out what is not finite.

    Keras' own `gradient_accumulation_steps` moves the average of the weights and the schedule with every piece.

    `fit`'s logs also have, of the last step alone: its loss as `step_loss`, 0 if it was not finite; how many steps the
    optimizer has applied, as `applied_steps`; in float16 the `loss_scale`.

    Attributes:
        pieces: into how many parts a batch (a device's share of it) is cut; it must be a multiple of them.
    """

    pieces = 1

    def updated_metrics(self, y, outputs, loss):
        """Return the logs of a step, after its gradients have been applied.

        Args:
            y: (batch, H, W, channels), what should come out.
            outputs: the same, what came out.
            loss: of the whole batch.
        """
        finite = ops.isfinite(loss)
        counts = ops.full(ops.shape(y)[:1], ops.cast(finite, "float32"))
        loss = ops.where(finite, loss, 0.0)
        tracker = next(metric for metric in self.metrics if metric.name == "loss")
        tracker.update_state(loss, sample_weight=ops.sum(counts))
        y, outputs = (ops.where(finite, images, 0.0) for images in (y, outputs))
        logs = self.compute_metrics(None, y, outputs, sample_weight=counts)
        scale = getattr(self.optimizer, "dynamic_scale", None)
        return {
            **logs,
            "step_loss": loss,
            "applied_steps": ops.cast(self.optimizer.iterations, "float32"),
            **({} if scale is None else {"loss_scale": ops.convert_to_tensor(scale)}),
        }
