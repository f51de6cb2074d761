"""What opening a run consists of: its photographs, its folder, its network, and how far it is."""

import dataclasses
import zlib
from pathlib import Path

import tensorflow as tf

from rnan_tf.errors import ImageError, InputError, JobError
from rnan_tf.network.loading import load_model
from rnan_tf.tasks.clean_images import read_clean, read_images
from rnan_tf.tasks.pairs import read_pair, read_pairs
from rnan_tf.tasks.task import get_task
from rnan_tf.training.checkpoints import Progress, checkpoint_constants, restore_checkpoint
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.data import RunData, Split, read_split
from rnan_tf.training.folder import RunFolder
from rnan_tf.training.initial_model import build_model, constants_of
from rnan_tf.training.memory import memory_limit, physical_memory
from rnan_tf.training.patches import CACHE_SHARE, PatchSpec, read_training
from rnan_tf.training.split import split_pairs, split_photographs, subsampled_notice
from rnan_tf.training.strategy import everyones, is_chief
from rnan_tf.training.train_step import TrainedRNAN


def enter(
    folder: RunFolder,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    data_service: str | None,
    data_changed: bool,
) -> RunData:
    """Let the chief look at all there is, and write only once everything fits.

    Args:
        folder: the run's; it is locked here.
        config: the resolved configuration.
        strategy: what trains.
        data_service: see `Run`.
        data_changed: see `Run.open`.

    Returns:
        What the run learns from.

    Raises:
        InputError: the photographs or the folder do not fit.
        JobError: the folder cannot be made or is another process's, or the workers do not see the same.
    """
    folder.check()
    existed = folder.path.is_dir()
    if existed:
        folder.lock()
    started = folder.is_started()
    kept = read_split(folder.path) if started else None
    older = started and kept is None  # than `data.json`
    if started:
        config.check_same(folder.path, same_photographs=kept is not None)
    by_content = not older and (kept is None or kept.by_content or data_changed)
    split = found = _find(config, by_content, started, kept)
    if kept is not None:
        apart = bool(config.val_data)
        split = found.going_on_from(kept, apart) if data_changed else found.as_in(kept, apart)
    spec = _spec(config)
    images = _validation_images(split, spec)
    if split.cached is None and not data_service:
        limit = (physical_memory() if older else memory_limit()) / CACHE_SHARE
        files = [each.source for each in split.training]
        split = dataclasses.replace(split, cached=read_training(files, spec, limit) is not None)
    if not existed:
        folder.lock()
    folder.tidy(started)
    if not started:
        config.write(folder.path)
    if split != kept:
        split.write(folder.path)
    _check_workers(found, strategy)
    return _data(split, spec, images)


def follow(
    folder: RunFolder,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    data_service: str | None,
    data_changed: bool,
) -> RunData:
    """Let another worker check that its configuration and its photographs are the chief's, which has written them.

    Args, Returns, Raises: those of `enter`.
    """
    started = folder.is_started()
    found = _find(config, False, started, read_split(folder.path) if started else None)
    _check_workers(found, strategy)
    kept = read_split(folder.path)
    if kept is None:
        raise JobError(f"{folder.path} is not the chief's; `run_dir` must be a folder that all workers share")
    config.check_same(folder.path, same_photographs=True)
    return _data(found.as_in(kept, apart=False), _spec(config), [])


def _validation_images(split, spec):
    least = spec.task.scoring.least_side
    if spec.paired:
        return list(read_pairs([each.source for each in split.validation], spec.task, least))
    return read_images([each.file for each in split.validation], spec.task, least)


def _find(config, by_content, started, kept):
    """Return the photographs, some of them held out: those that the run began with, or for a new one such as can be."""
    can_be_used = None if started else _can_be_used(config)
    if config.pairs:
        was_held_out = {each.content for each in kept.validation} if kept else ()
        training, validation = split_pairs(*config.pairs, can_be_used, was_held_out)
        return Split(tuple(training), tuple(validation))
    if config.data and get_task(config.task).channels == 3:
        print(subsampled_notice(config.data, config.skip_subsampled), flush=True)
    training, validation = split_photographs(
        config.data, config.val_data, config.skip_subsampled, by_content, can_be_used
    )
    return Split(tuple(training), tuple(validation), by_content=by_content)


def _can_be_used(config):
    """Return what tells whether a photograph or a pair can be validated on. Training names those that cannot be."""
    read, task = read_pair if config.pairs else read_clean, _spec(config).task

    def can_be_used(photograph):
        try:
            images = read(photograph.source, task)
        except ImageError:
            return False
        clean = images[1] if config.pairs else images
        return min(clean.shape[:2]) >= task.scoring.least_side

    return can_be_used


def _check_workers(found, strategy):
    contents = sorted({each.content for each in (*found.training, *found.validation)})
    if len(set(everyones(strategy, zlib.crc32("\n".join(contents).encode())))) > 1:
        raise JobError(f"{found.source} holds other photographs for one worker than for another; give all the same")


def _spec(config):
    task, strengths, paired = config.degraded_task, config.strengths, bool(config.pairs)
    return PatchSpec(task, strengths, config.patch_size, config.seed, paired, config.busiest_of)


def _data(split, spec, images):
    contents = [spec.task.name, str(spec.clean_size), *(each.content for each in split.training)]
    key = f"{zlib.crc32(chr(10).join(contents).encode()):08x}"
    return RunData(spec, [each.source for each in split.training], images, bool(split.cached), key)


def build_network(config: TrainConfig, spec: PatchSpec, started: RunFolder | None) -> TrainedRNAN:
    """Build the network.

    Args:
        config: the resolved configuration.
        spec: what a patch is.
        started: the folder of a run that goes on, for which `config.init` need not be there any more.

    Raises:
        InputError: `config.init` does not fit.
    """
    try:
        return build_model(config, spec, checkpoint_constants(started.checkpoints) if started else None)
    except InputError:
        last = started and started.path / "last.keras"
        if not config.init or not last or not last.exists():
            raise
        return build_model(config, spec, constants_of(load_model(last)))  # where version 0.1 has them


def restore_progress(checkpoints: Path, network: TrainedRNAN, strategy: tf.distribute.Strategy) -> Progress:
    """Load the newest checkpoint, once the chief has written it or set damaged ones aside.

    Args:
        checkpoints: their folder.
        network: the compiled network, which receives it.
        strategy: what trains.

    Raises:
        JobError: none can be loaded though there are some, or the workers read different ones.
    """
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
