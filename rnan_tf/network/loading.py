"""Load a model by what the user calls it, a `.keras` file, a run folder or a preset, and save one."""

import warnings
import zipfile
from pathlib import Path

import keras

from rnan_tf.errors import InputError, first_line
from rnan_tf.files import replacing
from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.model import RNAN, least_parameters
from rnan_tf.weights import find_model, read_config

# What a network's size depends on, with RNAN's defaults.
_SIZES = {"filters": 64, "num_blocks": 10, "space_to_depth": 1}


def load_model(source: str | Path) -> RNAN:
    """Load a trained model without running code from its file.

    Args:
        source: see `rnan_tf.weights.find_model`.

    Returns:
        The model in float32, for images of any size.

    Raises:
        InputError: there is no such model, or it is not an RNAN.
        JobError: a preset is damaged.
    """
    path = find_model(source)
    try:
        class_name = _check_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that are missing Keras warns first, and then raises
            model = keras.saving.load_model(path, compile=False, safe_mode=True) if class_name == "RNAN" else None
    except Exception as error:  # Keras raises whatever its zip, JSON and HDF5 readers meet
        raise InputError(
            f"{path}: not a Keras model that can be loaded ({first_line(error)}); copy it again"
            ", or convert or train one"
        ) from error
    if not isinstance(model, RNAN):
        raise InputError(
            f"{path}: a Keras model, but not an RNAN ({class_name}); give one that `rnan-tf train` or "
            "`rnan-tf convert` wrote"
        )
    # Whoever made the file does not choose how much memory it takes here.
    wanted = {"input_size": None, "chunk_size": CHUNK_SIZE}
    if model.get_config().items() >= wanted.items() and model.get_config()["dtype"] in (None, "float32"):
        return model
    return model.rebuild(**wanted, dtype="float32")


def _check_size(path: Path) -> str:
    """Return the class that a file names, once its weights are enough for the network that it describes."""
    described = read_config(path)
    class_name, config = str(described.get("class_name")), described["config"]
    if class_name != "RNAN":  # of other models nothing is built
        return class_name
    sizes = [config.get(name, default) for name, default in _SIZES.items()]
    if not all(isinstance(size, int) for size in sizes):
        raise InputError(f"its {', '.join(_SIZES)} must be whole numbers; they are {sizes}")
    needed = least_parameters(*sizes)
    with zipfile.ZipFile(path) as archive:
        held = archive.getinfo("model.weights.h5").file_size // 2  # of a weight's bytes two at least
    if needed > held:
        raise InputError(f"it describes {needed:,} weights or more, and holds at most {held:,}")
    return class_name


def save_model(model: RNAN, path: str | Path) -> None:
    """Write a model to a `.keras` file.

    Raises:
        JobError: the file cannot be written; an older one of its name is intact.
    """
    with replacing(path) as temporary:
        model.save(temporary)
