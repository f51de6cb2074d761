"""What the tests of the SavedModel share: a network a task, and how it is exported."""

import keras
import skimage.data
import tensorflow as tf

from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import get_task

PHOTO = skimage.data.astronaut()[60:127, 200:271]  # 67x71
LIMIT = 40_000
TILING = Tiling(32, 8)
# Task -> (the network's arguments, the strengths that it is said to be trained for).
MODELS = {
    "denoise": ({"conditional": True, "space_to_depth": 2}, (5, 60)),
    "denoise-gray": ({"channels": 1}, (30, 30)),
    "demosaic": ({"space_to_depth": 2, "normalize_over": "queries"}, (0, 0)),
    "jpeg": ({"channels": 1}, (10, 40)),
    "jpeg-color": ({"conditional": True, "space_to_depth": 2}, (10, 40)),
    "sr-x2": ({"scale": 2}, (0, 0)),
}


def export(name, folder):
    """Save a task's model: (Keras model, folder, its signatures)."""
    keras.utils.set_random_seed(0)
    arguments, strengths = MODELS[name]
    card = ModelCard.of_task(get_task(name), strengths, arguments.get("conditional", False))
    model = RNAN(filters=8, num_blocks=2, **arguments, metadata=card.to_dict())
    for variable in model.trainable_variables:  # attention starts as the identity
        if "non_local/w" in variable.path:
            variable.assign(keras.random.normal(variable.shape, stddev=0.3))
    ServingGraph(model, card_of(model, name), TILING, LIMIT).save(folder)
    return model, folder, tf.saved_model.load(str(folder)).signatures
