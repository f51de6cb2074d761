"""rnan_tf.restoring.runtimes.saved_model: the card in a SavedModel's folder, and folders without one."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.errors import InputError, JobError
from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.restoring.card import CARD_FILE, ModelCard, card_of
from rnan_tf.restoring.runtimes.saved_model import SavedModelRuntime
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import get_task
from tests.helpers.quick import quick
from tests.helpers.random_networks import random_model
from tests.restoring.runtimes.conftest import TILE


@pytest.fixture
def folder(exports, tmp_path):
    """A copy of the version that can be loaded."""
    return shutil.copytree(exports["saved_model"][1] / "10", tmp_path / "1")


def test_strengths_are_served_in_the_users_unit(exports, opened):
    served = tf.saved_model.load(str(exports["saved_model"][1] / "10")).signatures["serve_float"]
    batch = np.random.default_rng(0).random((2, TILE, TILE, 3), dtype=np.float32)
    expected = served(image=tf.constant(batch), level=tf.constant([30.0, 30.0]))["restored"]
    np.testing.assert_array_equal(opened["saved_model"][1].run(batch, 30), expected)


@pytest.mark.parametrize("value", quick([np.nan], [np.nan, np.inf]))
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    model = random_model("denoise-gray", filters=4, num_blocks=2, channels=1)
    bias = model.get_layer("tail").weights[-1]
    bias.assign(np.full(bias.shape, value))
    card = card_of(model, "broken")
    ServingGraph(model, card, Tiling(16, 4), 4000).save(tmp_path / "1")
    (tmp_path / "1" / CARD_FILE).parent.mkdir()
    (tmp_path / "1" / CARD_FILE).write_text(json.dumps(card.to_dict()))
    with pytest.raises(JobError, match=r"1: .*; the model or its weights are broken$"):
        SavedModelRuntime.open(tmp_path / "1").run(np.zeros((1, 16, 16, 1), np.float32), 0)


def test_version_0_1_had_no_card(folder):
    (folder / CARD_FILE).unlink()
    with pytest.raises(InputError, match=r"1: does not say its task; give `task`"):
        SavedModelRuntime.open(folder)
    card = SavedModelRuntime.open(folder, "denoise").card
    assert card == ModelCard.of_task(get_task("denoise"), (0, 75), True)
    with pytest.raises(InputError, match="its channels is 3, but task jpeg needs 1"):
        SavedModelRuntime.open(folder, "jpeg")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"strengths": "0-75"}', '{"task": "denoise"}'])
def test_a_card_that_is_none(folder, content):
    (folder / CARD_FILE).write_text(content)
    with pytest.raises(InputError, match=r"/1: ") as caught:
        SavedModelRuntime.open(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_damaged(folder, content):
    (folder / "saved_model.pb").write_bytes(content)
    with pytest.raises(InputError, match=r"/1: cannot be loaded \(.*\); copy or export it again"):
        SavedModelRuntime.open(folder)


def test_another_programs(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec((None,), tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.f})
    with pytest.raises(InputError, match=r"/1: cannot be loaded .*serve_float"):
        SavedModelRuntime.open(tmp_path / "1")
