"""Run trained networks of every kind: Keras models, `.tflite` and `.onnx` files, SavedModels."""

import os
from pathlib import Path

from rnan_tf.errors import InputError
from rnan_tf.quiet import import_tensorflow
from rnan_tf.restoring.runtimes.described import DescribedRuntime, saved_model_folder
from rnan_tf.restoring.runtimes.runtime import Runtime

PRECISIONS = ("float32", "bfloat16")


def open_runtime(
    source: str | Path, task: str | None = None, precision: str = PRECISIONS[0], load_weights: bool = True
) -> Runtime:
    """Open a trained network; only its own runtime is imported.

    Args:
        source: a preset's name, a `.keras`, `.tflite` or `.onnx` file, the folder of a SavedModel (of a version, or of
            all of them: the newest is taken), or of a training run.
        task: what it was trained for, if its file does not say.
        precision: of the computation: "float32", or of a Keras model "bfloat16", which is faster and a little worse.
        load_weights: False reads its card alone.

    Raises:
        InputError: there is no such network, it is damaged, was trained for another task, its runtime is missing, or
            the precision is none that it can be run in here.
    """
    path = Path(source)
    if precision != PRECISIONS[0] and not runs_on_keras(source):
        raise InputError(f"{source}: the precision of an exported network is fixed; leave `precision` out")
    if not load_weights:
        return DescribedRuntime.open(source, task)
    if path.suffix == ".tflite":
        from rnan_tf.restoring.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime.open(path, task)
    if path.suffix == ".onnx":
        from rnan_tf.restoring.runtimes.onnx import OnnxRuntime

        return OnnxRuntime.open(path, task)
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import_tensorflow()
    if folder := saved_model_folder(path):
        from rnan_tf.restoring.runtimes.saved_model import SavedModelRuntime

        return SavedModelRuntime.open(folder, task)
    from rnan_tf.restoring.runtimes.keras import KerasRuntime

    return KerasRuntime.open(source, task, precision)


def runs_on_keras(source: str | Path) -> bool:
    """Return whether Keras runs a network, and not a runtime of its own."""
    path = Path(source)
    return path.suffix not in (".tflite", ".onnx") and saved_model_folder(path) is None
