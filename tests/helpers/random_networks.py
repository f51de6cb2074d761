"""What the tests of exports share: small networks of random weights."""

import numpy as np

from rnan_tf import RNAN
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task

LITE, PAPER = {"filters": 8, "num_blocks": 2, "space_to_depth": 2}, {"filters": 16, "num_blocks": 2}


def random_model(task="demosaic", **kwargs):
    """A network whose non-local blocks have an effect, which they do not as initialised."""
    model = RNAN(**kwargs)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(4 * fan_in))
    task = get_task(task)
    strengths = task.strength.limits if task.strength else (0, 0)
    model.metadata = ModelCard.of_task(task, strengths, model.conditional, details={"steps": 7}).to_dict()
    return model


def with_large_scores(model, factor):
    """The network, with the attention's scores this many times as large: a picture still comes out of it."""
    for variable in model.weights:
        if "non_local/theta" in variable.path:
            variable.assign(variable * factor)
    return model
