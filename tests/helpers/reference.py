"""The authors' weights, with inputs, activations and outputs of the authors' code (tests/data/reference)."""

import functools
from pathlib import Path

import numpy as np

from rnan_tf.network.reference_checkpoints import load_reference

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
FIXTURES = ["restore_rgb_f16_g3", "restore_gray_f16_g3", "sr_x2_f16_g3", "sr_x3_f16_g3", "sr_x4_f16_g3"]
PREFIX = "state_dict/"


@functools.cache
def reference(fixture):
    with np.load(REFERENCE / f"{fixture}.npz") as file:
        return {name: file[name] for name in file.files}


def state_dict(fixture, **changes):
    """The fixture's weights; a change of None takes a tensor away."""
    tensors = {n.removeprefix(PREFIX): value for n, value in reference(fixture).items() if n.startswith(PREFIX)}
    tensors.update(changes)
    return {name: value for name, value in tensors.items() if value is not None}


@functools.cache
def model_of(fixture):
    return load_reference(REFERENCE / f"{fixture}.npz")
