"""What Keras has no callback for: validation on whole photographs, the bar over the whole run, a clean stop."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from rnan_tf.files import write_atomically
from rnan_tf.network.loading import save_model
from rnan_tf.network.model import RNAN
from rnan_tf.photos.encoding import encode
from rnan_tf.restoring.evaluation import Evaluated, Sample, evaluate, mean_scores
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import Task
from rnan_tf.training.checkpoints import Progress, save_checkpoint
from rnan_tf.training.compilation import average_weights
from rnan_tf.training.report import panel, write_curves
from rnan_tf.training.strategy import everyones

# Of version 0.1, whatever restoring takes today: the scores of a run, and what it keeps as its best, are compared.
_VALIDATION_TILING = Tiling(128, 16)


class Validation(keras.callbacks.Callback):
    """Validate the averaged weights by the paper's protocol, keep the best, write the panel and the curves.

    Args:
        averaged: a float32 copy of the trained model; it receives the moving average of the weights.
        images: what it is measured on; see `evaluate`.
        task: the task.
        strength: to validate at, in the user's unit.
        every: steps between validations.
        last_step: the run's end, where it validates in any case.
        run_dir: where `best.keras`, `last.keras`, `panel.png` and `curves.png` go.
        progress: counts steps; best score and history are kept in it.
        chief: whether this process validates and writes; the other workers of a cluster only count.
    """

    def __init__(
        self,
        averaged: RNAN,
        images: Sequence[Sample],
        task: Task,
        strength: float,
        every: int,
        last_step: int,
        run_dir: Path,
        progress: Progress,
        chief: bool = True,
    ):
        super().__init__()
        self.chief = chief
        self.runtime, self.images, self.task, self.strength = KerasRuntime(averaged), images, task, strength
        self.every, self.last_step, self.run_dir, self.progress = every, last_step, run_dir, progress
        if chief:
            self.writer = tf.summary.create_file_writer(str(run_dir / "tensorboard" / "panels"))

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in zip(self.model.metrics_variables, self.progress.metrics, strict=False):
            variable.assign(value)
        self.progress.metrics = []

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step += 1

    def on_epoch_end(self, epoch, logs=None):
        step = self.progress.step
        between = step % self.every and step != self.last_step
        if between:  # all workers: reading a metric adds up their values
            self.progress.metrics = [float(value.numpy()) for value in self.model.metrics_variables]
        if not self.chief:
            return
        logs["dropped"] = self.progress.dropped
        if not between:
            self.runtime.model.set_weights(average_weights(self.model))
            predict = self.runtime.at(self.strength)
            first, *others = evaluate(self.images, self.task, self.strength, predict, self._tiling())
            logs["val_psnr"] = mean_scores(image.scores for image in (first, *others))["psnr"]
            self._record(step, logs, first)
        # While steps are being dropped or diverge, the checkpoint to go back to is one from before.
        if not (self.progress.bad_in_a_row or self.progress.high_in_a_row) or step == self.last_step:
            save_checkpoint(self.run_dir / "checkpoints", self.model, self.progress)

    def _tiling(self):
        own = self.runtime.tiling
        return replace(_VALIDATION_TILING, fixed=True, batch=own.batch) if own.fixed else _VALIDATION_TILING

    def _record(self, step, logs, shown: Evaluated):
        scores = {key: float(logs[key]) for key in ("loss", "psnr", "val_psnr")}
        self.progress.history.append({"step": step, **scores, "dropped": logs["dropped"]})
        score = round(logs["val_psnr"], 3)
        averaged = self.runtime.model
        averaged.metadata = self.runtime.card.with_details(steps=step, validation_psnr=score).to_dict()
        if logs["val_psnr"] > self.progress.best:
            self.progress.best = logs["val_psnr"]
            save_model(averaged, self.run_dir / "best.keras")
        save_model(averaged, self.run_dir / "last.keras")
        write_curves(self.run_dir / "curves.png", self.progress.history)
        picture = panel(self.task.baseline(shown.degraded), shown.restored, shown.clean)
        write_atomically(self.run_dir / "panel.png", encode(picture, "PNG", None))
        with self.writer.as_default(step=step):
            tf.summary.image("before_after_truth", picture[None])


class ProgressBar(keras.callbacks.Callback):
    """One bar over the whole run: loss and PSNR of the running epoch, last validation, ETA.

    Args:
        total: steps of the whole run.
        progress: where the run is.
    """

    def __init__(self, total: int, progress: Progress):
        super().__init__()
        self.total, self.progress, self.bar = total, progress, None

    def on_train_begin(self, logs=None):
        interval = 0.5 if sys.stderr.isatty() else 30  # a log file need not hold every step
        self.bar = tqdm(total=self.total, initial=self.progress.step, unit="step", mininterval=interval)

    def on_train_batch_end(self, batch, logs=None):
        history, dropped = self.progress.history, self.progress.dropped
        shown = {"loss": f"{logs['loss']:.5f}", "psnr": f"{logs['psnr']:.2f}"}
        if history:
            shown["val_psnr"] = f"{history[-1]['val_psnr']:.2f}"
        if dropped:
            shown["dropped"] = dropped
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class StopOnSignal(keras.callbacks.Callback):
    """End the fit after the running step on the first Ctrl-C or SIGTERM; a second one ends the process as usual.

    A signal to one worker of a cluster stops all of them after the same step. One of these serves all fits of a run.

    Args:
        strategy: the run's.

    Attributes:
        stopped: the signal's number, None if there was none.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        super().__init__()
        self.strategy, self.signalled, self.stopped, self._before = strategy, 0, None, {}

    def on_train_begin(self, logs=None):
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_end(self, logs=None):
        self._restore()
        if self.strategy.cluster_resolver is None and self.signalled:  # since it was last looked for
            self.stopped = self.signalled

    def on_train_batch_end(self, batch, logs=None):
        self._stop_if_signalled()

    def on_epoch_end(self, epoch, logs=None):
        self._stop_if_signalled()  # a validation takes long, and may be the last thing that a fit does

    def _stop_if_signalled(self):
        if number := max(everyones(self.strategy, self.signalled)):
            self.stopped, self.model.stop_training = number, True

    def _stop(self, number, frame):
        self.signalled = number
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
