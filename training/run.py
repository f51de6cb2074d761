"""A training run: data, model and callbacks put together, from wherever its folder says it is."""

import errno
import os
import shutil
from pathlib import Path

import keras

import rnan_tf
from rnan_tf.attention import CHUNK_SIZE
from rnan_tf.data import PatchSpec, patch_batches, read_images
from rnan_tf.errors import InputError, JobError, is_out_of_memory
from rnan_tf.files import make_folder, remove_leftovers
from rnan_tf.loading import load_model
from rnan_tf.model import RNAN
from rnan_tf.presets import PRESETS
from rnan_tf.tasks import get_task
from training import report
from training.callbacks import ProgressBar, StopOnSignal, Validation
from training.checkpoints import is_started, restore_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.guard import Diverged, Guard
from training.optimization import adam, compile_model
from training.prepare_data import training_files
from training.step import TrainedRNAN
from training.strategy import choose_strategy

# Of maps up to so many positions, chunks of the attention save no memory worth their time.
WHOLE_MAP = 1024


class Run:
    """A run in its folder; constructing it reads the photographs to validate on and the newest checkpoint.

    Args:
        config: the resolved configuration.
        run_dir: the run's folder, made if need be.

    Attributes:
        progress: how far it is.

    Raises:
        InputError: the photographs, the run folder or `config.init` do not fit.
        JobError: the folder cannot be made.
    """

    def __init__(self, config: TrainConfig, run_dir: Path):
        self.config, self.run_dir = config, run_dir
        self.task = get_task(config.task)
        levels = self.task.parse_level(config.level)
        self.level = min(max(self.task.default_level, levels[0]), levels[1])
        self.spec = PatchSpec(self.task, levels, config.patch_size, config.seed)
        self.files, validation_files = training_files(config.data, config.val_data)
        self.images = read_images(validation_files, self.task, self.level)
        make_folder(run_dir)
        for folder in (run_dir, self._checkpoints):
            remove_leftovers(folder)
        started = is_started(run_dir, self._checkpoints)
        if not started:
            shutil.rmtree(self._checkpoints, ignore_errors=True)  # that of the first weights, of whatever configuration
        config.write(run_dir, started)
        keras.utils.set_random_seed(config.seed)
        with choose_strategy().scope():
            self.model = build_model(config, self.spec)
            compile_model(self.model, config)
        self.averaged = RNAN(**{**self.model.get_config(), "dtype": "float32", "chunk_size": CHUNK_SIZE})
        self.progress = restore_checkpoint(self._checkpoints, self.model)

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
        else:
            save_checkpoint(self._checkpoints, self.model, self.progress)  # what a rollback may have to go back to
        stopped = None
        while self.progress.step < total and not stopped:
            try:
                stopped = self._fit()
            except Diverged:
                self._roll_back()
        return stopped

    def _roll_back(self):
        """Go back to the newest checkpoint and halve the rate; raise at the second time."""
        failed = self.progress
        bad = f"{self.config.max_bad_steps} steps in a row had a NaN or infinite loss or gradient"
        if failed.rollbacks:
            raise JobError(
                f"{bad} up to step {failed.step}, at half the learning rate again; {self._checkpoints} holds the "
                "weights from before; try a lower --learning-rate or --precision float32 in another --run-dir "
                "(--init starts it from this one's best.keras)"
            )
        self.progress = restore_checkpoint(self._checkpoints, self.model)
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
        adam(self.model).rate_factor.assign(0.5**self.progress.rollbacks)
        bar, signals = ProgressBar(config.steps, self.progress), StopOnSignal()
        validation = Validation(
            self.averaged,
            self.images,
            self.task,
            self.level,
            config.validate_every,
            config.steps,
            self.run_dir,
            self.progress,
        )
        try:
            self.model.fit(
                patch_batches(self.files, self.spec, config.batch_size, step),
                initial_epoch=epoch,
                epochs=epoch + epochs,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
                callbacks=[
                    validation,  # first: it counts the steps
                    Guard(self.progress, config.max_bad_steps),
                    bar,
                    signals,
                    keras.callbacks.TensorBoard(self.run_dir / "tensorboard", write_graph=False),
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
            f"{config.patch_size} in {config.accumulate} piece(s); give more pieces by --accumulate (it must divide "
            "the batch), or a smaller --batch-size or --patch-size"
        )

    def closing_table(self) -> str:
        """Return the PSNR of the input, of a simple baseline and of the best model, as lines of text."""
        return report.closing_table(self.images, self.task, self.level, self.progress.best)


def build_model(config: TrainConfig, spec: PatchSpec) -> TrainedRNAN:
    """Build the model that a configuration asks for, with fresh weights or those of `config.init`.

    Args:
        config: the resolved configuration.
        spec: what a patch is.

    Returns:
        The model, not compiled.

    Raises:
        InputError: `config.init` is not a model of this size.
    """
    task, dtype = spec.task, {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}.get(config.precision)
    metadata = {
        "task": task.name,
        "level": list(spec.level) if task.level_name else None,
        "model": config.model,
        "patch_size": config.patch_size,
        "batch_size": config.batch_size,
        "loss": config.loss,
        "seed": config.seed,
        "version": rnan_tf.__version__,
    }
    positions = (config.patch_size // PRESETS[config.model].get("space_to_depth", 1)) ** 2
    model = TrainedRNAN.from_preset(
        config.model,
        channels=task.channels,
        scale=task.scale(spec.level[0]),
        conditional=spec.conditional,
        metadata=metadata,
        chunk_size=positions if positions <= WHOLE_MAP else CHUNK_SIZE,
        dtype=dtype,
    )
    if config.init:
        start = load_model(config.init)
        # The constants of a converted network belong to its weights.
        model = model.rebuild(**{key: start.get_config()[key] for key in ("normalize_over", "value_range")})
        take_weights(model, start, config.init)
    return model


def take_weights(model: RNAN, start: RNAN, name: str) -> None:
    """Give a model the weights of another, whose first and last layers may be of another task's shapes.

    Args:
        model: receives the weights; what does not fit stays as it is, and is printed.
        start: the other model.
        name: what to call it in messages.

    Raises:
        InputError: more than first and last layers differ.
    """
    ours, theirs = ({weight.path: weight for weight in each.weights} for each in (model, start))
    fitting = {path for path in ours.keys() & theirs.keys() if ours[path].shape == theirs[path].shape}
    unlike = [path for path in {**ours, **theirs} if path not in fitting]
    if any(path.split("/")[0].rstrip("_0123456789") not in ("head", "tail", "upsample") for path in unlike):
        raise InputError(f"{name}: its weights are not of the model size that is to be trained; give another --model")
    for path in fitting:
        ours[path].assign(theirs[path])
    if unlike:
        print(f"not from {name}, as another task's have other shapes: {', '.join(unlike)}")
