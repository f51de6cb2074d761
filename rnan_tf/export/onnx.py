"""Convert a model to ONNX, and compare the file with it.

Batch, height and width are dynamic, or the batch alone. The file is checked by `onnx.checker` and compared, in ONNX
Runtime and at three shapes, with the Keras model.
"""

import contextlib
import json
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from rnan_tf.errors import JobError, first_line
from rnan_tf.export.endpoint import make_endpoint
from rnan_tf.network.attention import unrolled
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import CARD_NAME, ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.onnx import OnnxRuntime
from rnan_tf.tasks.task import get_task

OPSET = 18
SHAPES = ((2, 48, 64), (1, 37, 53), (3, 21, 6))
TOLERANCE = 1e-4  # of the range [0, 1]


def convert(model: RNAN, card: ModelCard):
    """Convert a model.

    Args:
        model: the model.
        card: written into the file; if it has a tile, that is the only size, and the attention needs no loop.

    Returns:
        An `onnx.ModelProto`: image (batch, height, width, C) float32[, level (batch,)] -> restored.

    Raises:
        JobError: tf2onnx failed.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    import tf2onnx

    rebuilt = model.rebuild(input_size=card.tile and (card.tile, card.tile))
    restore, signature = make_endpoint(rebuilt, batch=None, side=card.tile)
    function = tf.function(restore, input_signature=signature, autograph=False)
    try:
        with unrolled() if card.tile else contextlib.nullcontext():
            proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    except Exception as error:  # tf2onnx raises whatever an operator's converter meets
        raise JobError(f"tf2onnx failed ({first_line(error)}); nothing was exported") from error
    _copy_what_loops_pass_on(proto.graph)
    enlarged = ("height", "width") if model.scale == 1 else ("enlarged_height", "enlarged_width")
    for value in [*proto.graph.input, *proto.graph.output]:
        sides = enlarged if value.name == "restored" else ("height", "width")
        # `level` has the first dimension only, and channels keep their number.
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", *sides), strict=False):
            if card.tile is None or name == "batch":
                dimension.dim_param = name
    proto.metadata_props.add(key=CARD_NAME, value=json.dumps(card.to_dict()))
    return proto


def _copy_what_loops_pass_on(graph) -> None:
    """Where the body of a loop gives back an input as it came, put an Identity between: OpenVINO takes it for two."""
    from onnx import helper

    for loop in (node for node in graph.node if node.op_type == "Loop"):
        body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
        given = {value.name for value in body.input}
        for value in body.output:
            if value.name in given:
                body.node.append(helper.make_node("Identity", [value.name], [f"{value.name}/same"]))
                value.name = f"{value.name}/same"


def verify(path: Path, target: Path, runtime: KerasRuntime, strength: float) -> float:
    """Check a written file, and run it on degraded pieces of a photograph.

    Args:
        path: the file.
        target: the name that it is to have, for messages.
        runtime: the Keras model.
        strength: to degrade at, in the user's unit.

    Returns:
        Its largest difference from the Keras model.

    Raises:
        JobError: the file is not valid, or the difference over `TOLERANCE`.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise JobError(f"{target}: onnx.checker: {first_line(error)}; not written") from error
    exported = OnnxRuntime.open(path)
    differences = [
        np.abs(exported.run(batch, strength) - runtime.run(batch, strength)).max()
        for batch in _degraded_batches(get_task(runtime.card.task), strength, exported.card.tile)
    ]
    if not max(differences) <= TOLERANCE:  # so that NaN fails
        raise JobError(f"{target}: differs from the Keras model by {max(differences):.1e}; not written")
    return float(max(differences))


def _degraded_batches(task, strength, tile):
    """Waves in three colours, degraded, in `SHAPES`: no data is needed for comparing numbers with numbers."""
    for count, height, width in SHAPES:
        height, width = (tile, tile) if tile else (height, width)
        y, x = np.mgrid[: height * task.scale, : width * task.scale] / (7 * task.scale)
        waves = np.stack([0.5 + 0.4 * np.sin(y * (1 + i) + x) for i in range(task.channels)], axis=-1)
        clean = np.rint(waves * 255).astype(np.uint8)
        yield np.stack([task.degrade(clean, (0, i), strength) for i in range(count)]) / np.float32(255)
