"""What a run does about steps that the optimizer dropped because loss or gradient was not finite."""

import keras
from keras import ops

from training.checkpoints import Progress
from training.optimization import adam


class Diverged(Exception):
    """So many bad steps in a row that waiting does not help."""


class Guard(keras.callbacks.Callback):
    """Count dropped steps, and end the fit when too many come in a row.

    A dropped step uses up its batch and counts as a step of the run; schedule, moments and averages of the optimizer
    stand still.

    Args:
        progress: the counts are kept in it.
        max_bad_steps: so many in a row raise `Diverged`.
    """

    def __init__(self, progress: Progress, max_bad_steps: int):
        super().__init__()
        self.progress, self.max_bad_steps = progress, max_bad_steps

    def on_train_begin(self, logs=None):
        self.applied = int(ops.convert_to_numpy(adam(self.model).iterations))

    def on_train_batch_end(self, batch, logs=None):
        before, self.applied = self.applied, int(ops.convert_to_numpy(adam(self.model).iterations))
        if self.applied > before:
            self.progress.bad_in_a_row = 0
            return
        self.progress.dropped += 1
        # float16 overflows until its scale has settled; from 1 down the scale is not the cause.
        scale = getattr(self.model.optimizer, "dynamic_scale", None)
        if scale is None or ops.convert_to_numpy(scale) < 1:
            self.progress.bad_in_a_row += 1
        if self.progress.bad_in_a_row >= self.max_bad_steps:
            raise Diverged
