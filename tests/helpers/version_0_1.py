"""What the test of version 0.1's files shares with `tests/data/version_0_1/make.sh`, which wrote them."""

import platform
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image


def machine() -> dict[str, str]:
    """Return what decides about the last bits of floating-point results."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    cpu = {line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "flags"))}
    return {
        "cpu": " ".join(sorted(cpu)) or platform.machine(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def serve(folder, photo, level: float | None) -> np.ndarray:
    """Restore an image file by the 8-bit signature of a SavedModel."""
    arguments = {"image": tf.constant(np.asarray(Image.open(photo))[None])}
    if level is not None:
        arguments["level"] = tf.constant([level], tf.float32)
    return tf.saved_model.load(str(folder)).signatures["serving_default"](**arguments)["restored"].numpy()[0]
