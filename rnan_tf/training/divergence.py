"""What a run does about steps that the optimizer dropped, and about losses that grow without end."""

import statistics

import keras
from keras import ops

from rnan_tf.training.checkpoints import Progress

# Muon's steps have a fixed size, so that at too high a rate its loss grows without ever becoming infinite. Losses of
# noise of any sigma differ by less than this factor from their median, and not for so many steps.
HIGH_LOSS = 10
MAX_HIGH_STEPS = 50
# The median is of so many losses, and is believed from so few on.
MEDIAN_OF = 101
FIRST_LOSSES = 11


class Diverged(Exception):
    """So many bad steps in a row that waiting does not help; the message says which."""


class Guard(keras.callbacks.Callback):
    """Count dropped steps and steps of a high loss, and end the fit when too many come in a row.

    A dropped step uses up its batch and counts as a step of the run; schedule, moments and averages of the optimizer
    stand still.

    Args:
        progress: the counts, and the losses that the median is of, are kept in it.
        max_bad_steps: so many dropped ones in a row raise `Diverged`.
    """

    def __init__(self, progress: Progress, max_bad_steps: int):
        super().__init__()
        self.progress, self.max_bad_steps = progress, max_bad_steps

    def on_train_begin(self, logs=None):
        self.applied = int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        before, self.applied = self.applied, int(logs["applied_steps"])
        if self.applied > before:
            self.progress.bad_in_a_row = 0
            self._look_at_loss(float(logs["step_loss"]))
        else:
            self._count_dropped_step(logs.get("loss_scale", 0))

    def _look_at_loss(self, loss):
        progress = self.progress
        enough = len(progress.losses) >= FIRST_LOSSES
        if enough and loss > HIGH_LOSS * statistics.median(progress.losses):
            progress.high_in_a_row += 1
            if progress.high_in_a_row >= MAX_HIGH_STEPS:
                raise Diverged(f"{MAX_HIGH_STEPS} steps in a row had a loss above {HIGH_LOSS} times its median")
            return
        progress.high_in_a_row = 0
        progress.losses = [*progress.losses, loss][-MEDIAN_OF:]

    def _count_dropped_step(self, loss_scale):
        progress = self.progress
        progress.dropped += 1
        # float16 overflows until its scale has settled; from 1 down the scale is not the cause.
        if loss_scale < 1:
            progress.bad_in_a_row += 1
        if progress.bad_in_a_row >= self.max_bad_steps:
            raise Diverged(f"{self.max_bad_steps} steps in a row had a NaN or infinite loss or gradient")
