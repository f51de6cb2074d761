"""Load a model by what the user calls it, a `.keras` file, a run folder or a preset, and save one."""

import json
import warnings
import zipfile
from pathlib import Path

import keras

from rnan_tf.errors import InputError, first_line
from rnan_tf.files import replacing
from rnan_tf.network.model import RNAN
from rnan_tf.weights import find_model


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
        class_name = _class_name(path)
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
    if model.input_size is None and model.get_config()["dtype"] in (None, "float32"):
        return model
    return model.rebuild(input_size=None, dtype="float32")


def _class_name(path: Path) -> str:
    # Looked up first, so that of other models' layers nothing is built.
    with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read("config.json"))["class_name"])


def save_model(model: RNAN, path: str | Path) -> None:
    """Write a model to a `.keras` file.

    Raises:
        JobError: the file cannot be written; an older one of its name is intact.
    """
    with replacing(path) as temporary:
        model.save(temporary)
