"""What the tests of TFLite files share: small networks, and the parts of a file."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from rnan_tf import RNAN

TILE = 16
LITE, PAPER = {"filters": 8, "num_blocks": 2, "space_to_depth": 2}, {"filters": 16, "num_blocks": 2}


def random_model(task="demosaic", **kwargs):
    """A network whose non-local blocks have an effect, which they do not as initialised."""
    model = RNAN(**kwargs)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(4 * fan_in))
    model.metadata["task"] = task
    return model


def parsed(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
