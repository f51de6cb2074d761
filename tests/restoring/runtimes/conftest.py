"""Networks of every kind, exported once."""

import shutil

import numpy as np
import pytest

from rnan_tf.network.loading import save_model
from rnan_tf.restoring.card import card_of
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from tests.helpers.random_networks import LITE, random_model

TILE, OVERLAP = 20, 4
# Kind -> (task, the network's arguments).
KINDS = {
    "tflite": ("denoise", {"conditional": True}),
    "onnx": ("sr-x2", {"scale": 2}),
    "saved_model": ("denoise", {"conditional": True}),
    "keras": ("denoise", {"conditional": True}),
}


def batch_of(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def pixels_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="package")
def exports(tmp_path_factory):
    """Kind -> (the network in Keras, its file or folder). Of the SavedModel there are the versions 2 and 10."""
    from rnan_tf.export import onnx
    from rnan_tf.export.saved_model import exporting as saved_model
    from rnan_tf.export.saved_model.graph import ServingGraph
    from rnan_tf.export.tflite import exporting as tflite
    from rnan_tf.restoring.tiling import Tiling

    folder, found = tmp_path_factory.mktemp("runtimes"), {}
    models = {task: random_model(task, **LITE, **arguments) for task, arguments in KINDS.values()}
    for kind, (task, _) in KINDS.items():
        model, path = models[task], folder / f"model.{kind}"
        card = card_of(model, kind)
        if kind == "tflite":
            data = {**card.to_dict(), "tile": TILE, "overlap": OVERLAP}
            path.write_bytes(tflite.add_card(tflite.convert(model, TILE), type(card).from_dict(data)))
        elif kind == "onnx":
            path.write_bytes(onnx.convert(model, card).SerializeToString())
        elif kind == "saved_model":
            path = folder / "saved"
            ServingGraph(model, card, Tiling(TILE, OVERLAP), 40_000).save(path / "10")
            saved_model.write_card(path / "10", card)
            shutil.copytree(path / "10", path / "2")
            (path / "2" / "saved_model.pb").write_bytes(b"an older version")
        else:
            save_model(model, path)
        found[kind] = model, path
    return found


@pytest.fixture(scope="package")
def opened(exports):
    """Kind -> (the network in Keras, its runtime)."""
    return {kind: (KerasRuntime(model), open_runtime(path)) for kind, (model, path) in exports.items()}
