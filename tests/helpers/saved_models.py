"""What the tests of the SavedModel share: a network a task, and how it is exported."""

import keras
import skimage.data
import tensorflow as tf

from rnan_tf.export.saved_model import graph as saved_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import get_task

PHOTO = skimage.data.astronaut()[60:127, 200:271]  # 67x71
LIMIT = 40_000
TILING = Tiling(32, 8)
MODELS = {
    "denoise": {"conditional": True, "space_to_depth": 2, "metadata": {"task": "denoise", "level": [5, 60]}},
    "denoise-gray": {"channels": 1, "metadata": {"task": "denoise-gray", "level": [30, 30]}},
    "demosaic": {"space_to_depth": 2, "normalize_over": "queries", "metadata": {"task": "demosaic", "level": None}},
    "jpeg": {"channels": 1, "metadata": {"task": "jpeg", "level": [10, 40]}},
    "sr": {"scale": 2, "metadata": {"task": "sr", "level": [2, 2]}},
}


def export(name, folder):
    """Save a task's model: (Keras model, folder, its signatures)."""
    keras.utils.set_random_seed(0)
    model = RNAN(filters=8, num_blocks=2, **MODELS[name])
    for variable in model.trainable_variables:  # attention starts as the identity
        if "non_local/w" in variable.path:
            variable.assign(keras.random.normal(variable.shape, stddev=0.3))
    saved_model.ServingGraph(model, get_task(name), (5, 60), TILING, LIMIT).save(folder)
    return model, folder, tf.saved_model.load(str(folder)).signatures
