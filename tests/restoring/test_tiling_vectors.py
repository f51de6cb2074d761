"""tests/data/tiling.json, which C++, TypeScript and Kotlin follow, is what Python computes."""

import json

import numpy as np

from tests.helpers.tiling_vectors import FILE, vectors


def test_python_still_equals_them():
    assert json.loads(FILE.read_text()) == vectors()


def test_weights_survive_decimals_and_add_up_to_one():
    for axis in json.loads(FILE.read_text())["axes"]:
        total = np.zeros(axis["starts"][-1] + axis["tile"])
        for start, weights in zip(axis["starts"], axis["weights"], strict=True):
            total[start : start + axis["tile"]] += np.array(weights, np.float32)
        np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_they_are_worth_comparing_with():
    """Several tiles in either direction, both depths, and results that are neither clipped nor constant."""
    axes, images = json.loads(FILE.read_text()).values()
    assert {len(axis["starts"]) for axis in axes} >= {1, 2, 3, 4}
    assert {image["bits"] for image in images} == {8, 16}
    for image in images[1:]:
        assert len(set(image["restored"])) > 100
        assert np.mean(np.array(image["restored"]) == 2 ** image["bits"] - 1) < 0.01
