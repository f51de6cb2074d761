"""How large the numbers within a network become, with LiteRT's own way to keep all tensors as the judge."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from rnan_tf.export.patches import cut_patches
from rnan_tf.export.tflite import exporting
from rnan_tf.export.tflite.magnitudes import LIMIT, Magnitude, largest_magnitude
from rnan_tf.restoring.card import card_of
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.tasks.task import TASKS
from tests.helpers.random_networks import with_large_scores
from tests.helpers.tflite_networks import LITE, TILE, parsed, random_model


@pytest.fixture(scope="module")
def tiles(photos):
    return cut_patches(photos, TASKS["denoise"], (0, 75), TILE, 6)


def all_tensors(content, tile):
    """What each operator makes, as LiteRT keeps it without XNNPACK: name -> values."""
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    inputs = LiteRtRuntime.from_content("the model", content).inputs(tile.degraded, tile.strength)
    interpreter.get_signature_runner("serving_default")(**inputs)
    made = {i for operator in parsed(content).subgraphs[0].operators for i in operator.outputs}
    details = [entry for entry in interpreter.get_tensor_details() if entry["index"] in made]
    return {entry["name"]: interpreter.get_tensor(entry["index"]) for entry in details}


@pytest.mark.parametrize("factor", [1, 1e6])
def test_the_largest_of_all_tensors_is_found(tiles, factor):
    model = with_large_scores(random_model("denoise", **LITE, conditional=True), factor)
    content = exporting.add_card(exporting.convert(model, TILE), card_of(model, "denoise"))
    found = largest_magnitude(content, tiles)
    kept = [all_tensors(content, tile) for tile in tiles]
    expected = max(np.abs(values).max() for tensors in kept for values in tensors.values())
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert ("non_local" in found.tensor) == (factor > 1) == (not found.fits)
    restored = LiteRtRuntime.from_content("the model", content).run(tiles[0].degraded, tiles[0].strength)
    assert np.abs(restored).max() < 100  # what comes out does not tell


def test_what_fits():
    assert Magnitude(LIMIT - 1, "x").fits
    assert not Magnitude(LIMIT, "x").fits and not Magnitude(float("nan"), "x").fits
