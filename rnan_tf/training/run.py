"""A training run: data, model and callbacks put together, from wherever its folder says it is."""

import errno
import os
import secrets
import shutil
import zlib
from pathlib import Path

import keras
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, is_out_of_memory
from rnan_tf.files import make_folder, remove_leftovers
from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.model import RNAN
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.task import get_task
from rnan_tf.training import report
from rnan_tf.training.callbacks import ProgressBar, StopOnSignal, Validation
from rnan_tf.training.checkpoints import is_started, restore_checkpoint, save_checkpoint
from rnan_tf.training.compilation import compile_model, inner_optimizer
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.data_service import check_address, store_photographs, through_service
from rnan_tf.training.divergence import Diverged, Guard
from rnan_tf.training.initial_model import build_model
from rnan_tf.training.patches import PatchSpec, patch_batches, served_batches
from rnan_tf.training.split import subsampled_notice, training_files
from rnan_tf.training.strategy import distribute, everyones, is_chief


class Run:
    """A run in its folder; constructing it reads the photographs to validate on and the newest checkpoint.

    Args:
        config: the resolved configuration.
        run_dir: the run's folder, made if need be.
        strategy: what trains; its chief alone writes into the folder, all its workers read it.
        data_service: address of the processes that degrade the patches; None to degrade them here.

    Attributes:
        progress: how far it is.
        chief: whether this process writes.

    Raises:
        InputError: the photographs, the run folder or `config.init` do not fit.
        JobError: the folder cannot be made, or the workers do not see the same one.
    """

    def __init__(
        self, config: TrainConfig, run_dir: Path, strategy: tf.distribute.Strategy, data_service: str | None = None
    ):
        self.config, self.run_dir, self.strategy, self.data_service = config, run_dir, strategy, data_service
        self.chief = is_chief(strategy)
        if config.batch_size // strategy.num_replicas_in_sync % config.accumulate:
            raise InputError(f"`accumulate` {config.accumulate} must divide each device's share of `batch_size`")
        if data_service:
            if "4:2:2" in config.subsampling:
                raise InputError("`data_service` cannot run Pillow, which `subsampling` 4:2:2 needs; leave one out")
            check_address(data_service)
        self.task = get_task(config.task).with_subsampling(*config.subsampling)
        self.strength = self.task.nearest(config.strengths)
        self.spec = PatchSpec(self.task, config.strengths, config.patch_size, config.seed)
        if config.data and self.task.channels == 3:
            print(subsampled_notice(config.data, config.skip_subsampled), flush=True)
        self.files, validation_files = training_files(config.data, config.val_data, config.skip_subsampled)
        self.images = read_images(validation_files, self.task) if self.chief else []
        self._enter_folder()
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = build_model(config, self.spec)
            compile_model(self.model, config)
        self.averaged = RNAN(**{**self.model.get_config(), "dtype": "float32", "chunk_size": CHUNK_SIZE})
        self.progress = self._restore()

    def _enter_folder(self):
        """Write the configuration, the chief first; the other workers check that theirs and their data are the same."""
        if self.chief:
            make_folder(self.run_dir)
            for folder in (self.run_dir, self._checkpoints):
                remove_leftovers(folder)
            started = is_started(self.run_dir, self._checkpoints)
            if not started:  # a checkpoint can only be that of the first weights, of whatever configuration
                shutil.rmtree(self._checkpoints, ignore_errors=True)
            self.config.write(self.run_dir, started)
        names = zlib.crc32("\n".join(file.name for file in self.files).encode())
        if len(set(everyones(self.strategy, names))) > 1:
            raise JobError("`data` holds other photographs for one worker than for another; give all the same")
        if not self.chief:
            if not (self.run_dir / "config.json").exists():
                raise JobError(f"{self.run_dir} is not the chief's; `run_dir` must be a folder that all workers share")
            self.config.write(self.run_dir, started=True)

    def _restore(self):
        """Load the newest checkpoint, once the chief has written it or set damaged ones aside."""
        if self.chief:
            progress = restore_checkpoint(self._checkpoints, self.model)
        everyones(self.strategy, 0)
        if not self.chief:
            progress = restore_checkpoint(self._checkpoints, self.model, set_aside=False)
        steps = everyones(self.strategy, progress.step)
        if len(set(steps)) > 1:
            raise JobError(
                f"{self.run_dir}: the workers read checkpoints of different steps ({', '.join(map(str, steps))}); "
                "`run_dir` must be a folder that all workers share"
            )
        return progress

    @property
    def _checkpoints(self):
        return self.run_dir / "checkpoints"

    def train(self) -> int | None:
        """Train to the last step.

        Returns:
            None if it got there, else the number of the signal that stopped it.

        Raises:
            JobError: the disk is full, memory does not suffice, or the training diverged twice.
        """
        total = self.config.steps
        if self.progress.step >= total:
            print(f"{self.run_dir}: finished already, {total} steps; to train more give another --run-dir with --init")
        elif self.progress.step:
            print(f"{self.run_dir}: going on from step {self.progress.step} of {total}", flush=True)
        elif self.chief:
            save_checkpoint(self._checkpoints, self.model, self.progress)  # what a rollback may have to go back to
        stopped = None
        while self.progress.step < total and not stopped:
            try:
                stopped = self._fit()
            except Diverged as error:
                self._roll_back(str(error))
            everyones(self.strategy, 0)  # the chief has written; a worker that left earlier would look lost
        return stopped

    def _roll_back(self, bad):
        """Go back to the newest checkpoint and halve the rate; raise at the second time."""
        failed = self.progress
        if failed.rollbacks:
            raise JobError(
                f"{bad} up to step {failed.step}, at half the learning rate again; {self._checkpoints} holds the "
                "weights from before; try a lower `learning_rate` or `precision` float32 in another `run_dir` "
                "(`init` starts it from this one's best.keras)"
            )
        self.progress = self._restore()
        self.progress.rollbacks, self.progress.dropped = 1, failed.dropped
        print(f"{bad} up to step {failed.step}; going back to step {self.progress.step} at half the learning rate")

    def _fit(self):
        """Fit up to the end, or only up to the next validation where a run goes on between two of them.

        Returns:
            The number of the signal that ended it, or None.
        """
        config, step = self.config, self.progress.step
        epoch, into_epoch = divmod(step, config.validate_every)
        steps = min(config.validate_every - into_epoch, config.steps - step)
        whole_epochs = (config.steps - step) // config.validate_every
        epochs = whole_epochs if not into_epoch and whole_epochs else 1
        inner_optimizer(self.model).rate_factor.assign(0.5**self.progress.rollbacks)
        bar, signals = ProgressBar(config.steps, self.progress), StopOnSignal(self.strategy)
        validation = Validation(
            self.averaged,
            self.images,
            self.task,
            self.strength,
            config.validate_every,
            config.steps,
            self.run_dir,
            self.progress,
            self.chief,
        )
        board = keras.callbacks.TensorBoard(self.run_dir / "tensorboard", write_graph=False)
        try:
            self.model.fit(
                self.batches(step),
                initial_epoch=epoch,
                epochs=epoch + epochs,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
                callbacks=[
                    validation,  # first: it counts the steps
                    Guard(self.progress, config.max_bad_steps),
                    *([bar, board] if self.chief else []),
                    signals,
                ],
            )
        except Exception as error:
            for callback in (bar, signals):
                callback.on_train_end()  # which Keras leaves out
            if is_out_of_memory(error):
                raise self._out_of(error) from error
            raise
        return signals.stopped

    def _out_of(self, error):
        config = self.config
        if os.strerror(errno.ENOSPC) in str(error):  # TensorFlow's word for a full disk is that for full memory
            return JobError(f"{self.run_dir}: cannot be written (no space left); make room and run the command again")
        return JobError(
            f"out of memory at step {self.progress.step + 1} with {config.batch_size} patches of {config.patch_size}x"
            f"{config.patch_size} in {config.accumulate} piece(s); give more pieces by `accumulate` (it must divide "
            "the batch), or a smaller `batch_size` or `patch_size`"
        )

    def batches(self, step: int) -> tf.data.Dataset | tf.distribute.DistributedDataset:
        """Return the training data from a step on, each replica's slice to itself; all workers call it together."""
        config, spec = self.config, self.spec
        if not self.data_service:
            return distribute(
                self.strategy, lambda part: patch_batches(self.files, spec, config.batch_size, step, part=part)
            )
        folder = self.run_dir / "photographs"
        if self.chief:
            store_photographs(self.files, spec, folder)
        # All workers read from one job, under a name that no earlier one had.
        job = f"{folder}-{step}-{everyones(self.strategy, secrets.randbits(62))[0]}"
        files, replicas = sorted(folder.iterdir()), self.strategy.num_replicas_in_sync
        serve = through_service(self.data_service, job)
        return self.strategy.distribute_datasets_from_function(
            lambda _: served_batches(files, spec, config.batch_size // replicas, step * replicas, serve)
        )

    def closing_table(self) -> str:
        """Return the PSNR of the input, of a simple baseline and of the best model, as lines of text."""
        return report.closing_table(self.images, self.task, self.strength, self.progress.best)
