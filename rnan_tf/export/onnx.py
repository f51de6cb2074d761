"""Convert a model to ONNX, and compare the file with it.

Batch, height and width are dynamic. The file is checked by `onnx.checker` and compared, in ONNX Runtime and at three
shapes, with the Keras model.
"""

import json
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from rnan_tf.errors import JobError
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.runtimes import load_artifact
from rnan_tf.restoring.tiling import model_predictor

OPSET = 18
SHAPES = ((2, 48, 64), (1, 37, 53), (3, 21, 6))
TOLERANCE = 1e-4  # of the range [0, 1]


def convert(model: RNAN, metadata: dict):
    """Convert a model.

    Args:
        model: the model.
        metadata: see `rnan_tf.restoring.runtimes.Artifact`.

    Returns:
        An `onnx.ModelProto`: image (batch, height, width, C) float32[, level (batch,)] -> restored.

    Raises:
        JobError: tf2onnx failed.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    import tf2onnx

    dynamic = model.rebuild(input_size=None)
    signature = [tf.TensorSpec((None, None, None, model.channels), name="image")]
    signature += [tf.TensorSpec((None,), name="level")] if model.conditional else []

    def restore(image, level=None):
        return {"restored": dynamic({"image": image, "level": level} if model.conditional else image)}

    function = tf.function(restore, input_signature=signature, autograph=False)
    try:
        proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    except Exception as error:  # tf2onnx raises whatever an operator's converter meets
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise JobError(f"tf2onnx failed ({reason[:200]}); nothing was exported") from error
    enlarged = ("height", "width") if model.scale == 1 else ("enlarged_height", "enlarged_width")
    for value in [*proto.graph.input, *proto.graph.output]:
        sides = enlarged if value.name == "restored" else ("height", "width")
        # `level` has the first dimension only, and channels keep their number.
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", *sides), strict=False):
            dimension.dim_param = name
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value if key == "task" else json.dumps(value))
    return proto


def verify(path: Path, target: Path, model: RNAN, task, level: float) -> float:
    """Check a written file, and run it on degraded pieces of a photograph.

    Args:
        path: the file.
        target: the name that it is to have, for messages.
        model: the Keras model.
        task: what it restores.
        level: to degrade at.

    Returns:
        Its largest difference from the Keras model.

    Raises:
        JobError: the file is not valid, or the difference over `TOLERANCE`.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise JobError(f"{target}: onnx.checker: {str(error).strip().splitlines()[0][:200]}; not written") from error
    predict_onnx, predict_keras = load_artifact(path).predictor(level / 255), model_predictor(model, level / 255)
    differences = [
        np.abs(predict_onnx(batch) - predict_keras(batch)).max()
        for batch in _degraded_batches(task, model.scale, level)
    ]
    if not max(differences) <= TOLERANCE:  # so that NaN fails
        raise JobError(f"{target}: differs from the Keras model by {max(differences):.1e}; not written")
    return float(max(differences))


def _degraded_batches(task, scale, level):
    """Waves in three colours, degraded, in `SHAPES`: no data is needed for comparing numbers with numbers."""
    for count, height, width in SHAPES:
        y, x = np.mgrid[: height * scale, : width * scale] / (7 * scale)
        waves = np.stack([0.5 + 0.4 * np.sin(y * (1 + i) + x) for i in range(task.channels)], axis=-1)
        clean = np.rint(waves * 255).astype(np.uint8)
        yield np.stack([task.degrade(clean, (0, i), level) for i in range(count)]) / np.float32(255)
