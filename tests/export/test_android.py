"""export/android: Kotlin's tiling, compiled and run on a desktop's Java, gives what Python's gives."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.missing import skip_or_fail
from tests.helpers.tiling_vectors import FILE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the Kotlin program prints for each vector: words."""
    if not shutil.which("kotlinc"):
        skip_or_fail("needs the Kotlin compiler: apt-get install kotlin")
    jar = tmp_path_factory.mktemp("kotlin") / "vectors.jar"
    sources = [ROOT / "export/android/Tiling.kt", ROOT / "tests/helpers/TilingVectors.kt"]
    subprocess.run(
        ["kotlinc", *map(str, sources), "-include-runtime", "-d", str(jar)], check=True, stderr=subprocess.DEVNULL
    )
    vectors = json.loads(FILE.read_text())
    lines = [f"axis {a['size']} {a['tile']} {a['overlap']}" for a in vectors["axes"]]
    for image in vectors["images"]:
        sizes = [image[key] for key in ("height", "width", "channels")] + [2 ** image["bits"] - 1]
        sizes += [image[key] for key in ("scale", "tile", "overlap")]
        lines.append(" ".join(["image", *map(str, sizes + image["pixels"])]))
    lines += ["broken NaN", "broken Infinity", "broken 1"]
    printed = subprocess.run(
        ["java", "-cp", jar, "TilingVectorsKt"], input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True
    )
    return vectors, [line.split() for line in printed.stdout.splitlines()]


@pytest.mark.slow
def test_axes(answers):
    vectors, words = answers
    for axis, answer in zip(vectors["axes"], words, strict=False):
        count = len(axis["starts"])
        assert [int(word) for word in answer[:count]] == axis["starts"]
        weights = np.array(answer[count:], np.float32).reshape(count, axis["tile"])
        np.testing.assert_array_equal(weights, np.array(axis["weights"], np.float32))


@pytest.mark.slow
def test_images(answers):
    vectors, words = answers
    for image, answer in zip(vectors["images"], words[len(vectors["axes"]) : -3], strict=True):
        assert [int(word) for word in answer] == image["restored"]


@pytest.mark.slow
def test_values_that_are_not_finite_are_named(answers):
    said = [" ".join(answer) for answer in answers[1][-3:]]
    broken = "the network gives NaN or infinity; the model or its weights are broken"
    assert said == [broken, broken, "null"]
