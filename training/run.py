"""A training run: data, model and callbacks put together, from wherever its folder says it is."""

import secrets
import subprocess
import zlib
from pathlib import Path

import keras
import tensorflow as tf

import rnan_tf
from rnan_tf.attention import CHUNK_SIZE
from rnan_tf.data import PatchSpec, patch_batches, read_images, served_batches
from rnan_tf.errors import InputError, JobError
from rnan_tf.files import make_folder
from rnan_tf.loading import load_model
from rnan_tf.model import RNAN
from rnan_tf.presets import PRESETS
from rnan_tf.tasks import get_task
from training import report
from training.callbacks import ProgressBar, StopOnSignal, Validation
from training.checkpoints import restore_checkpoint
from training.config import TrainConfig
from training.data_service import check_address, store_photographs, through_service
from training.optimization import compile_model
from training.prepare_data import training_files
from training.strategy import distribute, everyones, is_chief

# Of maps up to so many positions, chunks of the attention save no memory worth their time.
WHOLE_MAP = 1024


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
        if data_service:
            check_address(data_service)
        self.task = get_task(config.task)
        levels = self.task.parse_level(config.level)
        self.level = min(max(self.task.default_level, levels[0]), levels[1])
        self.spec = PatchSpec(self.task, levels, config.patch_size, config.seed)
        self.files, validation_files = training_files(config.data, config.val_data)
        self.images = read_images(validation_files, self.task, self.level) if self.chief else []
        self._enter_folder()
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = build_model(config, self.spec)
            compile_model(self.model, config)
        self.averaged = self.model.rebuild(dtype="float32", chunk_size=CHUNK_SIZE)
        self.progress = self._restore()

    def _enter_folder(self):
        """Write the configuration, the chief first; the other workers check that theirs and their data are the same."""
        if self.chief:
            make_folder(self.run_dir)
            self.config.write(self.run_dir)
        names = zlib.crc32("\n".join(file.name for file in self.files).encode())
        if len(set(everyones(self.strategy, names))) > 1:
            raise JobError("--data holds other photographs for one worker than for another; give all the same")
        if not self.chief:
            if not (self.run_dir / "config.json").exists():
                raise JobError(f"{self.run_dir} is not the chief's; --run-dir must be a folder that all workers share")
            self.config.write(self.run_dir)

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
                "--run-dir must be a folder that all workers share"
            )
        return progress

    @property
    def _checkpoints(self):
        return self.run_dir / "checkpoints"

    def train(self) -> bool:
        """Train to the last step.

        Returns:
            Whether it got there; False after a signal.
        """
        total = self.config.steps
        if self.progress.step >= total:
            print(f"{self.run_dir}: finished already, {total} steps; to train more give another --run-dir with --init")
        elif self.progress.step:
            print(f"{self.run_dir}: going on from step {self.progress.step} of {total}", flush=True)
        while self.progress.step < total:
            finished = self._fit()
            everyones(self.strategy, 0)  # the chief has written; a worker that left earlier would look lost
            if not finished:
                return False
            # Keras ends a fit by writing the moving average over the weights.
            self.progress = self._restore()
        return True

    def _fit(self):
        """Fit up to the end, or only up to the next validation where a run goes on between two of them."""
        config, step = self.config, self.progress.step
        epoch, into_epoch = divmod(step, config.validate_every)
        steps = min(config.validate_every - into_epoch, config.steps - step)
        whole_epochs = (config.steps - step) // config.validate_every
        epochs = whole_epochs if not into_epoch and whole_epochs else 1
        signals = StopOnSignal(self.strategy)
        validation = Validation(
            self.averaged,
            self.images,
            self.task,
            self.level,
            config.validate_every,
            config.steps,
            self.run_dir,
            self.progress,
            self.chief,
        )
        bar = ProgressBar(config.steps, self.progress)
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
                    *([bar, board] if self.chief else []),
                    signals,
                    keras.callbacks.TerminateOnNaN(),
                ],
            )
        finally:
            bar.close()
        return not signals.stopped

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
        return report.closing_table(self.images, self.task, self.level, self.progress.best)


def build_model(config: TrainConfig, spec: PatchSpec) -> RNAN:
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
        "code": code_version(),
    }
    positions = (config.patch_size // PRESETS[config.model].get("space_to_depth", 1)) ** 2
    model = RNAN.from_preset(
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


def code_version() -> str | None:
    """Return the commit of the training code, marked where files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


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
