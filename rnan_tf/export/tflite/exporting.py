"""Convert a model for phones: the variants, what they cost, and their check.

A file is checked by `rnan_tf.export.tflite.lint` and compared with the Keras model on real degraded patches.
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, first_line
from rnan_tf.export.artifacts import peak_memory
from rnan_tf.export.tflite.lint import lint
from rnan_tf.export.tflite.quantization import Cost, mean_psnr, measure
from rnan_tf.network.attention import unrolled
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import CARD_NAME, ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime, count_operators
from rnan_tf.tasks.task import Task

VARIANTS = ("fp32", "fp16", "dynamic", "int8")
PATCHES = 24
# Greatest loss of PSNR against the Keras model, dB.
TOLERANCES = {"fp32": 0.01, "fp16": 0.02, "dynamic": 0.5}
# Of int8: without noise or a codec results are closer to the truth, and more is lost.
INT8_TOLERANCE, INT8_TOLERANCE_EXACT = 0.1, 0.2
FP32_DIFFERENCE = 1e-4  # largest, of the range [0, 1]
# Chunks of the attention's score matrix: of about this many elements, but no more than so many chunks.
CHUNK_ELEMENTS, MAX_CHUNKS = 1_500_000, 16


def default_tile(model: RNAN) -> int:
    """Return the height and width of a tile: at full resolution, 96 would spend as much on attention as on the rest."""
    return 96 if model.space_to_depth > 1 else 64


def default_photographs():
    import skimage.data

    names = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
    return [Path(skimage.data.__file__).parent / name for name in names]


def check_folder(folder: Path) -> None:
    """Check that a folder is new, or holds exports only.

    Raises:
        InputError: it is a file or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give `output` a folder")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        is_ours = path.suffix in (".tflite", ".onnx", ".md") or path.name in ("report.json", "crops.png")
        if not is_ours and not path.name.startswith(".") and not any(path.glob("**/saved_model.pb")):
            raise InputError(f"{folder}: holds {path.name}, not only exports; give `output` another folder")


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
    signature = [tf.TensorSpec((1, tile, tile, model.channels), name="image")]
    signature += [tf.TensorSpec((1,), name="level")] if model.conditional else []

    def restore(image, level=None):
        return {"restored": static({"image": image, "level": level} if model.conditional else image)}

    archive = keras.export.ExportArchive()
    archive.track(static)
    with tempfile.TemporaryDirectory() as folder:
        with unrolled():
            archive.add_endpoint("serving_default", restore, signature)
            archive.write_out(folder, verbose=False)
        try:
            return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"]).convert()
        except Exception as error:  # the converter's own class is private
            raise JobError(f"TensorFlow's converter failed ({first_line(error)}); nothing was exported") from error


def add_card(model: bytes, card: ModelCard) -> bytes:
    """Return a `.tflite` file's content with the card added."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    root = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(card.to_dict()).encode(), np.uint8)
    entry.name, entry.buffer = CARD_NAME.encode(), len(root.buffers)
    root.buffers.append(buffer)
    root.metadata = [*(root.metadata or []), entry]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# === Verification ===


def tolerance(variant: str, task: Task) -> float:
    """Return the greatest loss of PSNR that a variant may have, dB."""
    return TOLERANCES.get(variant) or (INT8_TOLERANCE if task.strength else INT8_TOLERANCE_EXACT)


def verify(path: Path, target: Path, runtime: KerasRuntime, patches, allowed: float) -> None:
    """Check a written file: no problem by `lint`, and as good as the Keras model on degraded patches.

    Args:
        path: the file.
        target: the name that it is to have, for messages.
        runtime: the Keras model.
        patches: see `cut_patches`.
        allowed: loss of PSNR, dB.

    Raises:
        JobError: it is not.
    """
    problems = lint(path.read_bytes())
    if problems:
        raise JobError(f"{target}: {problems[0]} (and {len(problems) - 1} more problems); not written")
    exported = LiteRtRuntime.open(path)
    loss = mean_psnr(runtime, patches) - mean_psnr(exported, patches)
    if not loss <= allowed:  # so that NaN fails
        raise JobError(f"{target}: {loss:.3f} dB worse than the Keras model, {allowed} dB allowed; not written")
    if exported.card.details["variant"] == "fp32":
        image, strength = patches[0].degraded, patches[0].strength
        difference = np.abs(exported.run(image, strength) - runtime.run(image, strength))
        if not difference.max() <= FP32_DIFFERENCE:
            raise JobError(f"{target}: differs from the Keras model by {difference.max():.1e}; not written")


# === Reports ===


def report_variants(network: bytes, variants: dict[str, Path], patches) -> str:
    """Return a Markdown table of the variants' costs; ratios are against float32 in the same run."""
    contents = {variant: path.read_bytes() for variant, path in variants.items()}
    costs = measure({"float32": network, **contents}, patches)
    lines = [
        f"TFLite variants, a tile of {patches[0].degraded.shape[1]} pixels squared, 2 threads, medians; PSNR "
        f"on {len(patches)} degraded patches. Memory: the peak of a process that restores a tile, LiteRT included.",
        "",
        "| variant | MB | of float32 | ms | of float32 | loss | memory MB | most frequent operators |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant, content in contents.items():
        operators = ", ".join(f"{name} {count}" for name, count in list(count_operators(content).items())[:6])
        memory = f"{peak_memory(variants[variant], patches[0].degraded.shape, patches[0].strength):.0f}"
        lines.append(f"| {variant} | {_cells(costs[variant], costs['float32'])} | {memory} | {operators} |")
    return "\n".join(lines) + "\n"


def report_frontier(models: dict[str, bytes], chosen: str, patches) -> str:
    """Return a Markdown table of the ways to quantize a network, "float32" and the chosen one among them."""
    costs = measure(models, patches)
    lines = ["| in int8 | MB | of float32 | ms | of float32 | loss | |", "|---|---|---|---|---|---|---|"]
    for name, cost in costs.items():
        lines.append(f"| {name} | {_cells(cost, costs['float32'])} | {'chosen' if name == chosen else ''} |")
    return "\n".join(lines) + "\n"


def _cells(cost: Cost, base: Cost):
    return (
        f"{cost.megabytes:.2f} | {cost.megabytes / base.megabytes:.3f} | {cost.milliseconds:.1f} | "
        f"{cost.milliseconds / base.milliseconds:.2f} | {base.psnr - cost.psnr:+.3f} dB"
    )
