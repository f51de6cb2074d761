"""The optional packages, by the extra that installs them."""

import importlib.util

from rnan_tf.errors import InputError

_MODULES = {
    "tflite": ("ai_edge_quantizer",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "raw": ("rawpy",),
    "serving": ("tensorflow_serving",),
    "train": ("matplotlib", "tensorboard"),
    "heif": ("pillow_heif",),
    "jax": ("jax",),
}


def check_extra(extra: str, needed_by: str = "") -> None:
    """Check that the packages of an extra can be imported.

    Args:
        extra: "tflite", "onnx", "raw", "serving", "train", "heif" or "jax".
        needed_by: what needs them, for the message.

    Raises:
        InputError: one is missing.
    """
    missing = [name for name in _MODULES[extra] if not importlib.util.find_spec(name)]
    if missing:
        who = f"{needed_by}: " if needed_by else ""
        raise InputError(f"{who}{', '.join(missing)} not installed: pip install 'rnan-tf[{extra}]'")
