"""What the variants of a network cost, and the other ways to quantize it, as Markdown tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnan_tf.export.costs import latencies, peak_memory
from rnan_tf.export.patches import Patch, mean_psnr
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime, count_operators


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


def measure(models: Mapping[str, bytes], patches: Sequence[Patch]) -> dict[str, Cost]:
    """Measure models in one run.

    Args:
        models: name -> content of a `.tflite` file.
        patches: what they restore.

    Returns:
        name -> cost.
    """
    runtimes = {name: LiteRtRuntime.from_content(name, model) for name, model in models.items()}
    predictors = {name: runtime.at(patches[0].strength) for name, runtime in runtimes.items()}
    times = latencies(predictors, patches[0].degraded)
    return {
        name: Cost(len(models[name]) / 1e6, times[name], mean_psnr(runtime, patches))
        for name, runtime in runtimes.items()
    }


def report_variants(network: bytes, variants: Mapping[str, Path], patches: Sequence[Patch]) -> str:
    """Return a table of the variants' costs; ratios are against float32 in the same run.

    Args:
        network: the float32 model's content.
        variants: variant -> its file.
        patches: what they restore.
    """
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
        memory = peak_memory(variants[variant], patches[0].degraded.shape, patches[0].strength)
        lines.append(f"| {variant} | {_cells(costs[variant], costs['float32'])} | {memory:.0f} | {operators} |")
    return "\n".join(lines) + "\n"


def report_frontier(network: bytes, models: Mapping[str, bytes], chosen: str, patches: Sequence[Patch]) -> str:
    """Return a table of the ways to quantize a network.

    Args:
        network: the float32 model's content.
        models: recipe's name -> content of the quantized model.
        chosen: the name of the recipe that was taken.
        patches: what they restore.
    """
    costs = measure({"float32": network, **models}, patches)
    lines = ["| in int8 | MB | of float32 | ms | of float32 | loss | |", "|---|---|---|---|---|---|---|"]
    for name, cost in costs.items():
        lines.append(f"| {name} | {_cells(cost, costs['float32'])} | {'chosen' if name == chosen else ''} |")
    return "\n".join(lines) + "\n"


def _cells(cost: Cost, base: Cost):
    return (
        f"{cost.megabytes:.2f} | {cost.megabytes / base.megabytes:.3f} | {cost.milliseconds:.1f} | "
        f"{cost.milliseconds / base.milliseconds:.2f} | {base.psnr - cost.psnr:+.3f} dB"
    )
