"""A training run: data, network and callbacks put together, from wherever its folder says it is."""

import dataclasses
import errno
import functools
import os
import secrets
import zlib
from pathlib import Path

import keras
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, is_out_of_memory
from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.task import get_task
from rnan_tf.training import report
from rnan_tf.training.callbacks import ProgressBar, StopOnSignal, Validation
from rnan_tf.training.checkpoints import Progress, checkpoint_constants, restore_checkpoint, save_checkpoint
from rnan_tf.training.compilation import compile_model, inner_optimizer
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.data import RunData, Split, read_split
from rnan_tf.training.data_service import check_address, store_photographs, through_service
from rnan_tf.training.divergence import Diverged, Guard
from rnan_tf.training.folder import RunFolder
from rnan_tf.training.initial_model import build_model, constants_of
from rnan_tf.training.memory import memory_limit, physical_memory
from rnan_tf.training.patches import CACHE_SHARE, PatchSpec, patch_batches, served_batches
from rnan_tf.training.split import split_photographs, subsampled_notice
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
            check_address(data_service)
        entered = RunFolder(folder)
        try:
            data = (_enter if is_chief(strategy) else _follow)(entered, config, strategy, data_service, data_changed)
            started = entered.is_started()
            keras.utils.set_random_seed(config.seed)
            with strategy.scope():
                network = _build(config, data.spec, entered if started else None)
                compile_model(network, config)
            progress = _restore(entered.checkpoints, network, strategy)
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
        self.progress = _restore(self._checkpoints, self.network, self.strategy)
        self.progress.rollbacks, self.progress.dropped = 1, failed.dropped
        print(f"{bad} up to step {failed.step}; going back to step {self.progress.step} at half the learning rate")

    def _fit(self, signals):
        """Fit up to the end, or only up to the next validation where a run goes on between two of them."""
        config, step = self.config, self.progress.step
        epoch, into_epoch = divmod(step, config.validate_every)
        steps = min(config.validate_every - into_epoch, config.steps - step)
        whole_epochs = (config.steps - step) // config.validate_every
        epochs = whole_epochs if not into_epoch and whole_epochs else 1
        inner_optimizer(self.network).rate_factor.assign(0.5**self.progress.rollbacks)
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


# === What opening consists of ===


def _enter(folder, config, strategy, data_service, data_changed) -> RunData:
    """Let the chief look at all there is, and write only once everything fits."""
    folder.check()
    existed = folder.path.is_dir()
    if existed:
        folder.lock()
    started = folder.is_started()
    kept = read_split(folder.path) if started else None
    older = started and kept is None  # than `data.json`
    if started:
        config.check_same(folder.path, same_photographs=kept is not None)
    split = found = _find(config, by_content=not older)
    if kept is not None:
        apart = bool(config.val_data)
        split = found.going_on_from(kept, apart) if data_changed else found.as_in(kept, apart)
    spec = _spec(config)
    images = read_images([each.file for each in split.validation], spec.task)
    if split.cached is None and not data_service:
        limit = (physical_memory() if older else memory_limit()) / CACHE_SHARE
        files = [each.file for each in split.training]
        split = dataclasses.replace(split, cached=read_images(files, spec.task, spec.clean_size, limit) is not None)
    if not existed:
        folder.lock()
    folder.tidy(started)
    if not started:
        config.write(folder.path)
    if split != kept:
        split.write(folder.path)
    _check_workers(found, strategy)
    return _data(split, spec, images)


def _follow(folder, config, strategy, data_service, data_changed) -> RunData:
    """Let another worker check that its configuration and its photographs are the chief's, which has written them."""
    found = _find(config)
    _check_workers(found, strategy)
    kept = read_split(folder.path)
    if kept is None:
        raise JobError(f"{folder.path} is not the chief's; `run_dir` must be a folder that all workers share")
    config.check_same(folder.path, same_photographs=True)
    return _data(found.as_in(kept, apart=False), _spec(config), [])


def _find(config, by_content=True):
    if config.data and get_task(config.task).channels == 3:
        print(subsampled_notice(config.data, config.skip_subsampled), flush=True)
    training, validation = split_photographs(config.data, config.val_data, config.skip_subsampled, by_content)
    return Split(tuple(training), tuple(validation))


def _check_workers(found, strategy):
    contents = sorted({each.content for each in (*found.training, *found.validation)})
    if len(set(everyones(strategy, zlib.crc32("\n".join(contents).encode())))) > 1:
        raise JobError("`data` holds other photographs for one worker than for another; give all the same")


def _spec(config):
    task = get_task(config.task).with_subsampling(*config.subsampling)
    return PatchSpec(task, config.strengths, config.patch_size, config.seed)


def _data(split, spec, images):
    contents = [spec.task.name, str(spec.clean_size), *(each.content for each in split.training)]
    key = f"{zlib.crc32(chr(10).join(contents).encode()):08x}"
    return RunData(spec, [each.file for each in split.training], images, bool(split.cached), key)


def _build(config, spec, started):
    """Build the network; `started`: the folder of a run that goes on, for which `init` need not be there any more."""
    try:
        return build_model(config, spec, checkpoint_constants(started.checkpoints) if started else None)
    except InputError:
        last = started and started.path / "last.keras"
        if not config.init or not last or not last.exists():
            raise
        return build_model(config, spec, constants_of(load_model(last)))  # where version 0.1 has them


def _restore(checkpoints, network, strategy):
    """Load the newest checkpoint, once the chief has written it or set damaged ones aside."""
    if is_chief(strategy):
        progress = restore_checkpoint(checkpoints, network)
    everyones(strategy, 0)
    if not is_chief(strategy):
        progress = restore_checkpoint(checkpoints, network, set_aside=False)
    steps = everyones(strategy, progress.step)
    if len(set(steps)) > 1:
        raise JobError(
            f"{checkpoints}: the workers read checkpoints of different steps ({', '.join(map(str, steps))}); "
            "`run_dir` must be a folder that all workers share"
        )
    return progress
