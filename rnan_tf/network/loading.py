"""Load a model by what the user calls it, a `.keras` file, a run folder or a preset, and save one."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

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
        class_name, config = _checked(path)
        if class_name == "RNAN":  # of other models nothing is built
            # Whoever made the file does not choose how much memory it takes here.
            model = RNAN(**{**config, "input_size": None, "chunk_size": CHUNK_SIZE, "dtype": "float32"})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of weights that are missing Keras warns first, and then raises
                model.load_weights(path)
    except Exception as error:  # Keras raises whatever its zip, JSON and HDF5 readers meet
        raise InputError(
            f"{path}: not a Keras model that can be loaded ({first_line(error)}); copy it again"
            ", or convert or train one"
        ) from error
    if class_name != "RNAN":
        raise InputError(
            f"{path}: a Keras model, but not an RNAN ({class_name}); give one that `rnan-tf train` or "
            "`rnan-tf convert` wrote"
        )
    return model


def _checked(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the class that a file names and its arguments, once its weights are enough for what they describe."""
    described = read_config(path)
    class_name, config = str(described.get("class_name")), described["config"]
    if class_name != "RNAN":
        return class_name, config
    sizes = [config.get(name, default) for name, default in _SIZES.items()]
    if not all(isinstance(size, int) for size in sizes):
        raise InputError(f"its {', '.join(_SIZES)} must be whole numbers; they are {sizes}")
    needed = least_parameters(*sizes)
    with zipfile.ZipFile(path) as archive:
        held = archive.getinfo("model.weights.h5").file_size // 2  # of a weight's bytes two at least
    if needed > held:
        raise InputError(f"it describes {needed:,} weights or more, and holds at most {held:,}")
    return class_name, config


def save_model(model: RNAN, path: str | Path) -> None:
    """Write a model to a `.keras` file.

    Raises:
        JobError: the file cannot be written; an older one of its name is intact.
    """
    with replacing(path) as temporary:
        model.save(temporary)
