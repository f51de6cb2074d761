"""Run trained networks of every kind: Keras models, `.tflite` and `.onnx` files, SavedModels."""

from pathlib import Path

from rnan_tf.quiet import import_tensorflow
from rnan_tf.restoring.runtimes.described import DescribedRuntime, saved_model_folder
from rnan_tf.restoring.runtimes.runtime import Runtime


def open_runtime(source: str | Path, task: str | None = None, load_weights: bool = True) -> Runtime:
    """Open a trained network; only its own runtime is imported.

    Args:
        source: a preset's name, a `.keras`, `.tflite` or `.onnx` file, the folder of a SavedModel (of a version, or of
            all of them: the newest is taken), or of a training run.
        task: what it was trained for, if its file does not say.
        load_weights: False reads its card alone.

    Raises:
        InputError: there is no such network, it is damaged, was trained for another task, or its runtime is missing.
    """
    path = Path(source)
    if not load_weights:
        return DescribedRuntime.open(source, task)
    if path.suffix == ".tflite":
        from rnan_tf.restoring.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime.open(path, task)
    if path.suffix == ".onnx":
        from rnan_tf.restoring.runtimes.onnx import OnnxRuntime

        return OnnxRuntime.open(path, task)
    import_tensorflow()
    if folder := saved_model_folder(path):
        from rnan_tf.restoring.runtimes.saved_model import SavedModelRuntime

        return SavedModelRuntime.open(folder, task)
    from rnan_tf.restoring.runtimes.keras import KerasRuntime

    return KerasRuntime.open(source, task)
