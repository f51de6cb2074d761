"""What surrounds a served model: its version, its warm-up requests, and the comparison with the Keras model."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError, JobError
from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.card import CARD_FILE, ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import restore

MAX_PIXELS = 16_000_000
UINT8_TOLERANCE = 1  # levels
FLOAT_TOLERANCE = 1e-4  # of the range [0, 1]
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # where the server looks for it

# signature -> input -> values, a batch of one
Examples = dict[str, dict[str, np.ndarray]]


def next_version(folder: Path) -> int:
    """Return the number of the next version of a served model.

    Args:
        folder: the model's, with its versions; it may not exist yet.

    Raises:
        InputError: the folder holds other content.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give `output` a folder")
    versions = [0]
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.startswith("."):
            continue
        if not path.name.isdecimal() or not (path / "saved_model.pb").is_file():
            raise InputError(f"{folder}: holds {path.name}, not only versions of a model; give `output` another folder")
        versions.append(int(path.name))
    return max(versions) + 1


# === Verification ===


def make_examples(graph: ServingGraph, pixels: np.ndarray, strength: float) -> Examples:
    """Return a request for each signature: a degraded piece of a photograph, larger than a tile for the 8-bit ones.

    Args:
        graph: what is exported.
        pixels: (H, W, 1 or 3) uint8.
        strength: to degrade at, in the user's unit.

    Raises:
        InputError: the photograph has 16 bits, or is too small.
    """
    if pixels.dtype != np.uint8:
        raise InputError("`image` must have 8 bits per channel")
    tile = graph.tiling.tile
    side = (tile + tile // 4 + 1) * graph.model.scale
    degraded = graph.task.degrade(graph.task.clean(pixels[:side, :side]), (0, 0), strength)
    height, width = (min(size, tile) // 4 * 4 for size in degraded.shape[:2])
    if not height or not width:
        raise InputError("`image` is too small; give a photograph of at least 16x16 pixels")
    examples = {
        "serving_default": {"image": degraded[None]},
        "serve_float": {"image": to_float(degraded[None, :height, :width])},
        "serve_bytes": {"image_bytes": np.array([tf.io.encode_png(degraded).numpy()], object)},
    }
    if graph.model.conditional:
        for inputs in examples.values():
            inputs["level"] = np.array([strength], np.float32)
    return examples


def compare(folder: Path, graph: ServingGraph, examples: Examples, strength: float) -> tuple[int, float]:
    """Run an exported model on examples and compare it with the Keras model.

    Args:
        folder: of the SavedModel.
        graph: what was exported.
        examples: see `make_examples`.
        strength: of the examples, in the user's unit.

    Returns:
        (largest difference of 8-bit results in levels, of the float32 results).

    Raises:
        JobError: a difference is out of its tolerance.
    """
    signatures = tf.saved_model.load(str(folder)).signatures
    results = {
        name: signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        for name, inputs in examples.items()
    }
    predict = KerasRuntime(graph.model, graph.card).at(strength)
    expected = restore(predict, examples["serving_default"]["image"][0], graph.model.scale, graph.tiling)
    served = results["serving_default"]["restored"][0], tf.io.decode_png(results["serve_bytes"]["image_bytes"][0])
    levels_off = max(int(np.abs(image.numpy().astype(int) - expected).max()) for image in served)
    expected = predict(examples["serve_float"]["image"])
    float_off = float(np.abs(results["serve_float"]["restored"].numpy() - expected).max())
    if not (levels_off <= UINT8_TOLERANCE and float_off <= FLOAT_TOLERANCE):  # so that NaN fails
        raise JobError(
            f"the exported model differs from the Keras model by {levels_off} levels (uint8) and {float_off:.1e} "
            f"(float32), over {UINT8_TOLERANCE} and {FLOAT_TOLERANCE:.0e}; nothing was exported"
        )
    return levels_off, float_off


def write_card(folder: Path, card: ModelCard) -> None:
    """Write what a network is for into the folder of its SavedModel.

    Args:
        folder: of the SavedModel.
        card: the card.
    """
    path = folder / CARD_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(card.to_dict()))


def write_warmup(folder: Path, name: str, examples: Examples) -> None:
    """Write requests that the server runs when it loads the model, so that the first user does not wait.

    Args:
        folder: of the SavedModel.
        name: of the served model.
        examples: the requests.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in examples.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
