"""Which layers of a network go to int8, how, and what each choice costs."""

import contextlib
import io
import logging
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnan_tf.photos.pixels import from_float, to_float
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.metrics import psnr
from rnan_tf.tasks.task import Task

CONVOLUTIONS = ("CONV_2D", "CONV_2D_TRANSPOSE")
# Layers by the name of their output tensor in the converted graph: `<model>/<layer>[/<layer>...]/BiasAdd;...`, where
# Keras may add a number to each name.
EDGES = r"(.*;)?[^/;]+/(head|tail|upsample_\d)(_\d+)?/(BiasAdd|convolution|Squeeze).*"
LAST_BLOCK_END = r".*/rnab_high(_\d+)?/conv(_\d+)?/.*"
# 1x1 convolutions of the attention: making their inputs int8 takes longer than the integers save.
ATTENTION = r".*/non_local(_\d+)?/(theta|phi|g|w)(_\d+)?/.*"
BLOCK_ENDS = r".*/(rnab_(low|high)|rab_\d+)(_\d+)?/conv(_\d+)?/.*"


@dataclass(frozen=True)
class Recipe:
    """A way to quantize a network.

    Attributes:
        name: what a reader is told.
        mode: "dynamic" (int8 weights; activations stay float between layers and become int8 within each, by the
            range that they have at that moment), "static" (int8 by calibrated ranges) or "float16" (weights only).
        algorithm: how the weights' ranges are found: "MIN_MAX_UNIFORM_QUANT", or "OCTAV", which clips them where the
            expected squared error is least (Sakr et al., "Optimal Clipping and Magnitude-aware Differentiation for
            Improved Quantization-aware Training", ICML 2022).
        islands: patterns of the layers that compute in float, with float16 weights.
        operators: the operators that `mode` is for.
    """

    name: str
    mode: str
    algorithm: str = "MIN_MAX_UNIFORM_QUANT"
    islands: tuple[str, ...] = ()
    operators: tuple[str, ...] = CONVOLUTIONS


FLOAT16 = Recipe("float16 weights", "float16", algorithm="FLOAT_CASTING")
DYNAMIC = Recipe("convolutions, dynamic, OCTAV weights", "dynamic", "OCTAV")
# From the fastest to the most careful: what damages the picture most goes to float first.
INT8_RECIPES = (
    Recipe("that, but head, tail, upsampling in float16", "dynamic", "OCTAV", (EDGES,)),
    Recipe("and the last block's last, attention's 1x1", "dynamic", "OCTAV", (EDGES, LAST_BLOCK_END, ATTENTION)),
    Recipe("and every block's last", "dynamic", "OCTAV", (EDGES, BLOCK_ENDS, ATTENTION)),
)
FRONTIER = (
    Recipe("every operator, static", "static", operators=("*",)),
    Recipe("convolutions, static", "static"),
    Recipe("convolutions, dynamic", "dynamic"),
    DYNAMIC,
    *INT8_RECIPES,
)


# === Real degraded patches ===


@dataclass(frozen=True, eq=False)
class Patch:
    """A degraded patch.

    Attributes:
        degraded: (1, tile, tile, C) float32 in [0, 1].
        clean: (scale * tile, scale * tile, C) uint8.
        strength: its degradation's, in the user's unit.
    """

    degraded: np.ndarray
    clean: np.ndarray
    strength: float


def cut_patches(
    files: Sequence[Path], task: Task, strengths: tuple[float, float] | None, tile: int, count: int
) -> list[Patch]:
    """Cut patches out of photographs, a third each at random, the darkest and the brightest of sixteen.

    Args:
        files: photographs.
        task: how they are degraded.
        strengths: (lowest, highest); those of the paper in between take turns.
        tile: height and width of the degraded patches.
        count: how many.

    Returns:
        The patches, the same for the same files.

    Raises:
        InputError: no photograph can be read and is large enough.
    """
    size = tile * task.scale
    chosen = [files[i * len(files) // count] for i in range(count)] if len(files) > count else files
    images = [image for _, image in read_images(chosen, task, min_size=size)]
    turns = [0.0]
    if strengths:
        low, high = strengths
        turns = [strength for strength in task.strength.published if low <= strength <= high] or [low]
    rng, patches = np.random.default_rng(0), []
    for number in range(count):
        clean = _crop(images[number % len(images)], size, ("random", "dark", "bright")[number % 3], rng)
        strength = turns[number // 3 % len(turns)]
        degraded = task.degrade(clean, (0, number), strength)
        patches.append(Patch(to_float(degraded)[None], clean, strength))
    return patches


def _crop(image, size, kind, rng):
    # At even positions, of which mosaics have the same phase.
    corners = [[int(rng.integers((side - size) // 2 + 1)) * 2 for side in image.shape[:2]] for _ in range(16)]
    crops = [image[y : y + size, x : x + size] for y, x in corners]
    return {"random": lambda crops, key: crops[0], "dark": min, "bright": max}[kind](crops, key=np.mean)


# === Quantization ===


def quantize(model: bytes, recipe: Recipe, patches: Sequence[Patch]) -> bytes:
    """Quantize a float32 `.tflite` model.

    Args:
        model: its content, with its card.
        recipe: how.
        patches: what a static recipe is calibrated on.

    Returns:
        The content of the quantized model.
    """
    from ai_edge_quantizer import quantizer

    with _quiet():
        work = quantizer.Quantizer(model)
        for operator in recipe.operators:
            _add_rules(work, recipe, operator)
        ranges = None
        if recipe.mode == "static":
            runtime = LiteRtRuntime.from_content("the model", model)
            inputs = [runtime.inputs(patch.degraded, patch.strength) for patch in patches]
            ranges = work.calibrate({"serving_default": inputs})
        return bytes(work.quantize(ranges).quantized_model)


@contextlib.contextmanager
def _quiet():
    # The quantizer prints sizes and progress bars, and warns of rules replaced and tensors kept, both on purpose.
    logging.disable(logging.WARNING)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _add_rules(work, recipe, operator):
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    operator, algorithm = TFLOperationName(operator), AlgorithmName[recipe.algorithm]
    if recipe.mode == "float16":
        _keep_float16(work, ".*", operator)
    elif recipe.mode == "dynamic":
        work.add_dynamic_config(".*", operator, 8, algorithm_key=algorithm)
    else:
        work.add_static_config(".*", operator, 8, 8, algorithm_key=algorithm)
        for name in ("INPUT", "OUTPUT"):  # stay float32 in every variant
            work.update_quantization_recipe(".*", TFLOperationName(name), algorithm_key=AlgorithmName.NO_QUANTIZE)
    for pattern in recipe.islands:
        _keep_float16(work, pattern, operator)


def _keep_float16(work, pattern, operator):
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work.update_quantization_recipe(pattern, operator, config, AlgorithmName.FLOAT_CASTING)


# === Costs and choice ===


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        megabytes: size, 10**6 bytes.
        milliseconds: median time of a tile.
        psnr: mean over the patches, dB.
    """

    megabytes: float
    milliseconds: float
    psnr: float


def measure(models: dict[str, bytes], patches: Sequence[Patch], repeats: int = 15) -> dict[str, Cost]:
    """Measure models in turn, so that a slow moment of the machine meets all of them alike.

    Args:
        models: name -> content of a `.tflite` file.
        patches: what they restore.
        repeats: timed runs of each, after one that is not.

    Returns:
        name -> cost.
    """
    runtimes = {name: LiteRtRuntime.from_content(name, model) for name, model in models.items()}
    times = {name: [] for name in runtimes}
    for repeat in range(repeats + 1):
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.run(patches[0].degraded, patches[0].strength)
            times[name].append(time.perf_counter() - start)
            if repeat == 0:
                times[name].clear()
    return {
        name: Cost(len(models[name]) / 1e6, statistics.median(times[name]) * 1e3, mean_psnr(runtime, patches))
        for name, runtime in runtimes.items()
    }


def choose_int8(network: bytes, models: dict[str, bytes], patches: Sequence[Patch], allowed: float) -> Recipe:
    """Choose how to quantize a network: the fastest of `INT8_RECIPES` that is good enough.

    Args:
        network: the float32 model's content.
        models: recipe's name -> content of the quantized model.
        patches: what the loss is measured on.
        allowed: loss of PSNR, dB. Half of it is aimed at: whole photographs may lose more than the patches.

    Returns:
        The first recipe that loses at most half of `allowed`, else the one that loses least.
    """
    before = mean_psnr(LiteRtRuntime.from_content("float32", network), patches)
    losses = {}
    for recipe in INT8_RECIPES:
        quantized = LiteRtRuntime.from_content(recipe.name, models[recipe.name])
        losses[recipe] = before - mean_psnr(quantized, patches)
        if losses[recipe] <= allowed / 2:
            return recipe
    return min(losses, key=losses.get)


def mean_psnr(runtime: Runtime, patches: Sequence[Patch]) -> float:
    """Return the mean PSNR of restored patches, as 8-bit images, dB.

    Args:
        runtime: the network.
        patches: the patches.
    """
    restored = (from_float(runtime.run(patch.degraded, patch.strength)[0], np.uint8) for patch in patches)
    return float(np.mean([psnr(image, patch.clean) for image, patch in zip(restored, patches, strict=True)]))
