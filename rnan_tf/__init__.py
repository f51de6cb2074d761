"""RNAN-TF: Residual Non-local Attention Networks for image restoration, for TensorFlow and Keras."""

import importlib
from typing import Any

__version__ = "0.2.0"

# Where each public name is. They are imported when they are asked for: Keras takes seconds, for which `rnan-tf --help`
# need not wait.
_HOMES = {
    "RNAN": "network.model",
    "VARIANTS": "network.variants",
    "ModelCard": "restoring.card",
    "Photo": "photos.photo",
    "Restorer": "restoring.restorer",
    "list_presets": "weights",
    "read_photo": "photos.photo",
    "restore": "restoring.one_call",
    "write_photo": "photos.photo",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "RNAN":
        from rnan_tf.quiet import import_tensorflow

        import_tensorflow()
    return getattr(importlib.import_module(f"rnan_tf.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
