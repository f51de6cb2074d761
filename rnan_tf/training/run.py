"""A training run: data, network and callbacks put together, from wherever its folder says it is."""

import errno
import functools
import os
import secrets
from pathlib import Path

import keras
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, is_out_of_memory
from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.model import RNAN
from rnan_tf.training import report
from rnan_tf.training.callbacks import ProgressBar, StopOnSignal, Validation
from rnan_tf.training.checkpoints import Progress, save_checkpoint
from rnan_tf.training.compilation import compile_model, set_rate_factor
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.data import RunData
from rnan_tf.training.data_service import check_address, store_photographs, through_service
from rnan_tf.training.divergence import Diverged, Guard
from rnan_tf.training.folder import RunFolder
from rnan_tf.training.opening import build_network, enter, follow, restore_progress
from rnan_tf.training.patches import patch_batches, served_batches
from rnan_tf.training.strategy import distribute, everyones, is_chief
from rnan_tf.training.train_step import TrainedRNAN


class Run:
    """A run; `Run.open` puts one together from its configuration and its folder.

    The constructor only stores what it is given.

    Args:
        config: the resolved configuration.
        network: the compiled network.
        data: the photographs.
        folder: where results go; it exists, with the configuration.
        progress: how far the network is; at the start if not given.
        strategy: what trains; its chief alone writes into the folder, all its workers read it. By default the one
            that is in force.
        data_service: address of the processes that degrade the patches; None to degrade them here.
        lock: what is released at the end of a `with` block.

    Attributes:
        chief: whether this process writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: TrainedRNAN,
        data: RunData,
        folder: Path,
        *,
        progress: Progress | None = None,
        strategy: tf.distribute.Strategy | None = None,
        data_service: str | None = None,
        lock: RunFolder | None = None,
    ):
        self.config, self.network, self.data, self.folder = config, network, data, folder
        self.progress = progress or Progress()
        self.strategy = strategy or tf.distribute.get_strategy()
        self.chief, self.data_service, self._lock = is_chief(self.strategy), data_service, lock

    @classmethod
    def open(
        cls,
        config: TrainConfig,
        folder: Path,
        strategy: tf.distribute.Strategy | None = None,
        data_service: str | None = None,
        data_changed: bool = False,
    ) -> "Run":
        """Read the photographs, enter the folder, build the network, and take up its newest checkpoint.

        Args:
            config: the resolved configuration.
            folder: the run's, made if need be.
            strategy: see the class.
            data_service: see the class.
            data_changed: go on with other photographs than the run began with.

        Returns:
            The run. Until `close`, or the end of this process, no other process can open it.

        Raises:
            InputError: the photographs, the folder or `config.init` do not fit.
            JobError: the folder cannot be made or is another process's, its checkpoints cannot be read, or the workers
                do not see the same.
        """
        strategy = strategy or tf.distribute.get_strategy()
        if config.batch_size // strategy.num_replicas_in_sync % config.accumulate:
            raise InputError(f"`accumulate` {config.accumulate} must divide each device's share of `batch_size`")
        if data_service:
            if "4:2:2" in config.subsampling:
                raise InputError("`data_service` cannot run Pillow, which `subsampling` 4:2:2 needs; leave one out")
            if config.pairs:
                raise InputError("`data_service` degrades photographs, and `pairs` are degraded; leave one out")
            check_address(data_service)
        entered = RunFolder(folder)
        try:
            data = (enter if is_chief(strategy) else follow)(entered, config, strategy, data_service, data_changed)
            started = entered.is_started()
            keras.utils.set_random_seed(config.seed)
            with strategy.scope():
                network = build_network(config, data.spec, entered if started else None)
                compile_model(network, config)
            progress = restore_progress(entered.checkpoints, network, strategy)
        except BaseException:
            entered.release()
            raise
        return cls(
            config, network, data, folder, progress=progress, strategy=strategy, data_service=data_service, lock=entered
        )

    def close(self) -> None:
        """Let other processes open the run."""
        if self._lock:
            self._lock.release()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    @property
    def strength(self) -> float:
        """The strength that it validates at, in the user's unit."""
        return self.data.spec.task.nearest(self.config.strengths)

    @functools.cached_property
    def averaged(self) -> RNAN:
        """A float32 copy of the network, for the moving average of its weights."""
        return RNAN(**{**self.network.get_config(), "dtype": "float32", "chunk_size": CHUNK_SIZE})

    @property
    def _checkpoints(self):
        return RunFolder(self.folder).checkpoints

    def train(self) -> int | None:
        """Train to the last step.

        Returns:
            None if it got there, else the number of the signal that stopped it.

        Raises:
            JobError: the disk is full, memory does not suffice, or the training diverged twice.
        """
        total = self.config.steps
        if self.progress.step >= total:
            print(f"{self.folder}: finished already, {total} steps; to train more give another --run-dir with --init")
        elif self.progress.step:
            print(f"{self.folder}: going on from step {self.progress.step} of {total}", flush=True)
        elif self.chief:
            save_checkpoint(self._checkpoints, self.network, self.progress)  # what a rollback may have to go back to
        signals = StopOnSignal(self.strategy)  # of all fits: one may end before it can look for a signal
        while self.progress.step < total and not signals.stopped:
            try:
                self._fit(signals)
            except Diverged as error:
                self._roll_back(str(error))
            everyones(self.strategy, 0)  # the chief has written; a worker that left earlier would look lost
        return signals.stopped

    def _roll_back(self, bad):
        """Go back to the newest checkpoint and halve the rate; raise at the second time."""
        failed = self.progress
        if failed.rollbacks:
            raise JobError(
                f"{bad} up to step {failed.step}, at half the learning rate again; {self._checkpoints} holds the "
                "weights from before; try a lower `learning_rate` or `precision` float32 in another `run_dir` "
                "(`init` starts it from this one's best.keras)"
            )
        self.progress = restore_progress(self._checkpoints, self.network, self.strategy)
        self.progress.rollbacks, self.progress.dropped = 1, failed.dropped
        self.progress.best = max(self.progress.best, failed.best)  # that of best.keras, which stays
        print(f"{bad} up to step {failed.step}; going back to step {self.progress.step} at half the learning rate")

    def _fit(self, signals):
        """Fit up to the end, or only up to the next validation where a run goes on between two of them."""
        config, step = self.config, self.progress.step
        epoch, into_epoch = divmod(step, config.validate_every)
        steps = min(config.validate_every - into_epoch, config.steps - step)
        whole_epochs = (config.steps - step) // config.validate_every
        epochs = whole_epochs if not into_epoch and whole_epochs else 1
        set_rate_factor(self.network, 0.5**self.progress.rollbacks)
        bar = ProgressBar(config.steps, self.progress)
        validation = Validation(
            self.averaged,
            self.data.validation_images,
            self.data.spec.task,
            self.strength,
            config.validate_every,
            config.steps,
            self.folder,
            self.progress,
            self.chief,
        )
        board = keras.callbacks.TensorBoard(self.folder / "tensorboard", write_graph=False)
        try:
            self.network.fit(
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

    def _out_of(self, error):
        config = self.config
        if os.strerror(errno.ENOSPC) in str(error):  # TensorFlow's word for a full disk is that for full memory
            return JobError(f"{self.folder}: cannot be written (no space left); make room and run the command again")
        return JobError(
            f"out of memory at step {self.progress.step + 1} with {config.batch_size} patches of {config.patch_size}x"
            f"{config.patch_size} in {config.accumulate} piece(s); give more pieces by `accumulate` (it must divide "
            "the batch), or a smaller `batch_size` or `patch_size`"
        )

    def batches(self, step: int) -> tf.data.Dataset | tf.distribute.DistributedDataset:
        """Return the training data from a step on, each replica's slice to itself; all workers call it together."""
        spec, files, size = self.data.spec, self.data.files, self.config.batch_size
        if not self.data_service:
            cache_bytes = float("inf") if self.data.cached else 0
            return distribute(
                self.strategy, lambda part: patch_batches(files, spec, size, step, cache_bytes=cache_bytes, part=part)
            )
        folder = RunFolder(self.folder).photographs / self.data.key
        if self.chief:
            folder.parent.mkdir(exist_ok=True)
            store_photographs(files, spec, folder)
        # All workers read from one job, under a name that no earlier one had.
        job = f"{folder}-{step}-{everyones(self.strategy, secrets.randbits(62))[0]}"
        files, replicas = sorted(folder.iterdir()), self.strategy.num_replicas_in_sync
        serve = through_service(self.data_service, job)
        return self.strategy.distribute_datasets_from_function(
            lambda _: served_batches(files, spec, size // replicas, step * replicas, serve)
        )

    def closing_table(self) -> str:
        """Return the PSNR of the input, of a simple baseline and of the best model, as lines of text."""
        return report.closing_table(self.data.validation_images, self.data.spec.task, self.strength, self.progress.best)
