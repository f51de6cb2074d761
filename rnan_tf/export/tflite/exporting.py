"""Convert a model for phones: the file's content, its variants, and their check."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, first_line
from rnan_tf.export.endpoint import make_endpoint
from rnan_tf.export.patches import Patch, mean_psnr
from rnan_tf.export.tflite import quantization
from rnan_tf.export.tflite.content import edit
from rnan_tf.export.tflite.lint import lint
from rnan_tf.export.tflite.quantization import Recipe, quantize
from rnan_tf.network.attention import unrolled
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import CARD_NAME, ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime

VARIANTS = ("fp32", "fp16", "dynamic", "int8")
PATCHES = 24
# Greatest loss of PSNR against the Keras model, dB.
TOLERANCES = {"fp32": 0.01, "fp16": 0.02, "dynamic": 0.5, "int8": 0.1}
FP32_DIFFERENCE = 1e-4  # largest, of the range [0, 1]
# Chunks of the attention's score matrix: of about this many elements, but no more than so many chunks.
CHUNK_ELEMENTS, MAX_CHUNKS = 1_500_000, 16


def tolerance(variant: str) -> float:
    """Return the greatest loss of PSNR that a variant may have, dB; of an unknown one that of int8."""
    return TOLERANCES.get(variant, TOLERANCES["int8"])


# === Conversion ===


def convert(model: RNAN, tile: int) -> bytes:
    """Convert a model to float32 TFLite for one tile: static shapes, no loops, no fused transpositions.

    Args:
        model: the model.
        tile: height and width.

    Returns:
        The file's content. Signature `serving_default`: image (1, tile, tile, C)[, level (1,)] -> restored.

    Raises:
        JobError: TensorFlow's converter failed.
    """
    positions = (-(-tile // model.space_to_depth)) ** 2
    chunks = min(-(-(positions**2) // CHUNK_ELEMENTS), MAX_CHUNKS)
    static = model.rebuild(input_size=(tile, tile), chunk_size=-(-positions // chunks))
    archive = keras.export.ExportArchive()
    archive.track(static)
    with tempfile.TemporaryDirectory() as folder:
        with unrolled():
            archive.add_endpoint("serving_default", *make_endpoint(static, batch=1, side=tile))
            archive.write_out(folder, verbose=False)
        try:
            return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"]).convert()
        except Exception as error:  # the converter's own class is private
            raise JobError(f"TensorFlow's converter failed ({first_line(error)}); nothing was exported") from error


def add_card(model: bytes, card: ModelCard) -> bytes:
    """Return a `.tflite` file's content with a card added.

    Args:
        model: the content.
        card: what the network is for.
    """
    from ai_edge_litert import schema_py_generated as schema

    def append(root):
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(json.dumps(card.to_dict()).encode(), np.uint8)
        entry.name, entry.buffer = CARD_NAME.encode(), len(root.buffers)
        root.buffers.append(buffer)
        root.metadata = [*(root.metadata or []), entry]

    return edit(model, append)


# === Variants ===


def check_variants(model: RNAN, variants: Sequence[str] | None) -> Sequence[str]:
    """Return the variants to export.

    Args:
        model: the network.
        variants: those that were asked for; None for all that it can be.

    Raises:
        InputError: it would overflow in one.
    """
    overflows = model.normalize_over == "queries"
    if variants is None:
        return [variant for variant in VARIANTS if not (overflows and variant == "fp16")]
    if overflows and "fp16" in variants:
        raise InputError(
            "`variants`: fp16 overflows on a GPU in a network that normalises over the queries, as the authors' do; "
            "leave it out"
        )
    return variants


def choose_recipes(
    variants: Sequence[str], network: bytes, patches: Sequence[Patch]
) -> tuple[dict[str, Recipe | None], dict[str, bytes]]:
    """Choose how each variant is quantized.

    Args:
        variants: among `VARIANTS`.
        network: the float32 model's content, with its card.
        patches: what is calibrated and measured on.

    Returns:
        (variant -> recipe, None for float32; recipe's name -> content of each way of int8 that was tried, if `variants`
        has "int8").
    """
    fixed = {"fp32": None, "fp16": quantization.FLOAT16, "dynamic": quantization.DYNAMIC}
    tried = {}
    if "int8" in variants:
        tried = {recipe.name: quantize(network, recipe, patches) for recipe in quantization.FRONTIER}
        fixed["int8"] = quantization.choose_int8(network, tried, patches, tolerance("int8"))
    return {variant: fixed[variant] for variant in variants}, tried


def make_variant(model: bytes, card: ModelCard, variant: str, recipe: Recipe | None, patches: Sequence[Patch]) -> bytes:
    """Return the content of a variant's file.

    Args:
        model: the float32 model's content, without a card.
        card: what the network is for; the variant is added to it.
        variant: the variant's name.
        recipe: how it is quantized; None for float32.
        patches: what a static recipe is calibrated on.
    """
    content = add_card(model, card.with_details(variant=variant))
    return content if recipe is None else quantize(content, recipe, patches)


def verify(path: Path, target: Path, runtime: KerasRuntime, patches: Sequence[Patch]) -> None:
    """Check a written file: no problem by `lint`, and as good as the Keras model on degraded patches.

    Args:
        path: the file, whose card says its variant.
        target: the name that it is to have, for messages.
        runtime: the Keras model.
        patches: what both restore.

    Raises:
        JobError: it is not.
    """
    problems = lint(path.read_bytes())
    if problems:
        raise JobError(f"{target}: {problems[0]} (and {len(problems) - 1} more problems); not written")
    exported = LiteRtRuntime.open(path)
    variant = exported.card.details["variant"]
    loss, allowed = mean_psnr(runtime, patches) - mean_psnr(exported, patches), tolerance(variant)
    if not loss <= allowed:  # so that NaN fails
        raise JobError(f"{target}: {loss:.3f} dB worse than the Keras model, {allowed} dB allowed; not written")
    if variant == "fp32":
        image, strength = patches[0].degraded, patches[0].strength
        difference = np.abs(exported.run(image, strength) - runtime.run(image, strength)).max()
        if not difference <= FP32_DIFFERENCE:
            raise JobError(f"{target}: differs from the Keras model by {difference:.1e}; not written")
