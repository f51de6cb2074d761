"""Load a model by what the user calls it, a `.keras` file, a run folder or a bundled network, and save one."""

import json
import warnings
import zipfile
from pathlib import Path

import keras

from rnan_tf.errors import InputError
from rnan_tf.files import replacing
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.presets import bundled_path, read_manifest
from rnan_tf.tasks.task import Task, get_task


def load_model(source: str | Path) -> RNAN:
    """Load a trained model without running code from its file.

    Args:
        source: see `find_model`.

    Returns:
        The model in float32, for images of any size.

    Raises:
        InputError: there is no such model, or it is not an RNAN.
        JobError: a bundled network is damaged.
    """
    path = find_model(source)
    try:
        class_name = _class_name(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that are missing Keras warns first, and then raises
            model = keras.saving.load_model(path, compile=False, safe_mode=True) if class_name == "RNAN" else None
    except Exception as error:  # Keras raises whatever its zip, JSON and HDF5 readers meet
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: not a Keras model that can be loaded ({reason[:200]}); copy it again, or convert or train one"
        ) from error
    if not isinstance(model, RNAN):
        raise InputError(
            f"{path}: a Keras model, but not an RNAN ({class_name}); give one that `rnan-tf train` or "
            "`rnan-tf convert` wrote"
        )
    if model.input_size is None and model.get_config()["dtype"] in (None, "float32"):
        return model
    return model.rebuild(input_size=None, dtype="float32")


def find_model(source: str | Path) -> Path:
    """Return the file of a model.

    Args:
        source: a `.keras` file, the folder of a training run, whose `best.keras` is taken, or the name of a bundled
            network; a file or folder of that name comes first.

    Raises:
        InputError: there is no such model.
        JobError: a bundled network is damaged.
    """
    path = Path(source)
    if not path.exists() and (bundled := bundled_path(str(source))):
        return bundled
    if path.is_dir():
        path = path / "best.keras"
        if not path.is_file():
            raise InputError(f"{source}: no best.keras in this folder; is it the --run-dir of a training run?")
    if not path.is_file():
        raise InputError(
            f"{source}: no such model; give a .keras file, the folder of a training run, or one of the bundled "
            f"networks: {', '.join(read_manifest()) or 'none in this version'}"
        )
    if path.suffix != ".keras":
        raise InputError(f"{source}: not a .keras file; PyTorch checkpoints go through `rnan-tf convert` first")
    return path


def _class_name(path):
    # Looked up first, so that of other models' layers nothing is built.
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))["class_name"]


def trained_task(model: RNAN, source: str | Path, task: str | None = None) -> tuple[Task, tuple[float, float]]:
    """Return what a model was trained for.

    Args:
        model: the model.
        source: its name, for messages.
        task: the task that the user asked for, if any.

    Returns:
        (task, (lowest, highest level)).

    Raises:
        InputError: the model does not say and the user did not, or the two disagree.
    """
    trained = model.metadata.get("task")
    if trained is None and task is None:
        raise InputError(f"{source}: the model does not say its task; give --task")
    if trained is not None and task is not None and task != trained:
        raise InputError(f"{source}: trained for task {trained}, not {task}; give a model of task {task}")
    found = get_task(task or trained)
    if found.channels != model.channels:
        raise InputError(f"{source}: has {model.channels} image channels, but task {found.name} needs {found.channels}")
    if (found.name == "sr") != (model.scale > 1):
        raise InputError(f"{source}: enlarges by {model.scale}, which does not fit task {found.name}")
    if found.name == "sr":
        return found, (model.scale, model.scale)
    level = model.metadata.get("level")
    levels = found.level_limits if level is None else level if isinstance(level, (list, tuple)) else [level]
    try:
        low, high = float(levels[0]), float(levels[-1])
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"{source}: its recorded level {level!r} is not a number or a range") from error
    return found, (low, high)


def save_model(model: RNAN, path: str | Path) -> None:
    """Write a model to a `.keras` file.

    Raises:
        JobError: the file cannot be written; an older one of its name is intact.
    """
    with replacing(path) as temporary:
        model.save(temporary)
