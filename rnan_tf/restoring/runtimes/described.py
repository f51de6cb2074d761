"""Read what a network's file says of itself, without the network, its runtime or TensorFlow."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rnan_tf.errors import InputError, first_line
from rnan_tf.restoring.card import CARD_FILE, read_card
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.weights import find_model, read_config

# What a .keras file says of its network, the first three also to the card.
_NETWORK = ("scale", "channels", "conditional", "filters", "num_blocks", "normalize_over")


class DescribedRuntime(Runtime):
    """A network of which only the card was read: it restores nothing."""

    @classmethod
    def open(cls, source: str | Path, task: str | None = None) -> "DescribedRuntime":
        """Read the card; see `open_runtime`."""
        return cls(str(source), read_card(read_description(source)[0], str(source), task))

    def _run(self, batch: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
        raise InputError(f"{self.name}: only its card was read; leave `load_weights` out")

    def operators(self) -> dict[str, int]:
        return {}


def read_description(source: str | Path) -> tuple[Any, dict[str, Any] | None]:
    """Return (what a model says of itself, of a Keras model the constructor's arguments).

    Args:
        source: see `rnan_tf.Restorer.from_preset`.

    Raises:
        InputError: there is no such model, or it is damaged.
    """
    path = Path(source)
    if folder := saved_model_folder(path):
        try:
            return json.loads((folder / CARD_FILE).read_text()), None
        except (OSError, ValueError) as error:
            message = f"a SavedModel without a readable {CARD_FILE} ({first_line(error)}); export it again"
            raise InputError(f"{source}: {message}") from error
    if path.suffix == ".tflite":
        from rnan_tf.restoring.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime.open(path).card.to_dict(), None
    if path.suffix == ".onnx":
        from rnan_tf.restoring.runtimes.onnx import OnnxRuntime

        return OnnxRuntime.open(path).card.to_dict(), None
    path = find_model(source)
    try:
        config = read_config(path)["config"]
        network = {name: config[name] for name in _NETWORK}
        return {**config["metadata"], **{name: network[name] for name in _NETWORK[:3]}}, network
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not an RNAN in a .keras file ({first_line(error)})") from error


def saved_model_folder(path: Path) -> Path | None:
    """Return a folder itself if it is a SavedModel, else its newest version that is one; None without any."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = [file.parent for file in path.glob("*/saved_model.pb") if file.parent.name.isdecimal()]
    return max(versions, key=lambda version: int(version.name), default=None)
