"""Which layers of a network go to int8, and how."""

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from rnan_tf.export.patches import Patch, mean_psnr
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime

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
