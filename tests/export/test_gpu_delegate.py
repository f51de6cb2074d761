"""LiteRT's GPU delegate takes the whole of every network that phones may get, and computes what the CPU computes.

There is no GPU here: the delegate runs on SwiftShader, which computes in float32. What float16 arithmetic of a phone's
GPU would do is not tested. A tile takes 5 to 25 seconds.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from rnan_tf.export.tflite import exporting
from rnan_tf.export.tflite.lint import lint
from rnan_tf.export.tflite.quantization import FLOAT16, quantize
from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.tasks.task import get_task
from tests.helpers import gpu_tile
from tests.helpers.missing import skip_or_fail

pytestmark = pytest.mark.slow

SIGMA = 25


@pytest.fixture(scope="module", autouse=True)
def swiftshader():
    if gpu_tile.is_missing():
        skip_or_fail(gpu_tile.is_missing())


@functools.cache
def network(preset):
    """The content of a preset's float32 file."""
    runtime = KerasRuntime.open(preset)
    tile = runtime.tiling.tile
    return exporting.add_card(exporting.convert(runtime.model, tile), replace(runtime.card, tile=tile, overlap=16))


def degraded_tile(card):
    """A degraded piece of a photograph, (1, tile, tile, 3)."""
    side, task = card.tile * card.scale, get_task(card.task)
    clean = skimage.data.astronaut()[50 : 50 + side, 120 : 120 + side]
    return to_float(task.degrade(clean, (0, 0), SIGMA))[None]


@pytest.mark.parametrize("preset", ["denoise", "sr-x2", "sr-x3", "sr-x4"])
def test_float32_is_fully_accelerated_and_equals_the_cpu(preset):
    content = network(preset)
    assert lint(content) == []
    cpu = LiteRtRuntime.from_content(preset, content)
    tile = degraded_tile(cpu.card)
    accelerated, output = gpu_tile.restore(content, cpu.inputs(tile, SIGMA))
    assert accelerated
    expected = cpu.run(tile, SIGMA)
    assert np.abs(output.reshape(expected.shape) - expected).max() < 1e-4  # measured 4e-7
    assert np.abs(expected[:, :: cpu.card.scale, :: cpu.card.scale] - tile).max() > 0.05  # it does restore


@pytest.mark.parametrize("preset", ["denoise", "sr-x2"])
def test_float16_weights_are_too(preset):
    """The bundled weights are stored in float16, so that nothing is lost; nor may the delegate lose anything."""
    cpu, small = LiteRtRuntime.from_content(preset, network(preset)), quantize(network(preset), FLOAT16, ())
    assert len(small) < 0.6 * len(network(preset))
    tile = degraded_tile(cpu.card)
    accelerated, output = gpu_tile.restore(small, cpu.inputs(tile, SIGMA))
    assert accelerated
    expected = cpu.run(tile, SIGMA)
    assert np.abs(output.reshape(expected.shape) - expected).max() < 1e-4
