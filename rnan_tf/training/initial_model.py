"""The network that a run trains, with its first weights."""

import json
import subprocess
from pathlib import Path
from typing import Any

import keras

import rnan_tf
from rnan_tf.errors import InputError, first_line
from rnan_tf.network.cost import multiply_adds
from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.network.variants import VARIANTS
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import NOISES
from rnan_tf.training.checkpoints import CONSTANTS
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.patches import PatchSpec
from rnan_tf.training.train_step import TrainedRNAN

# Of maps up to so many positions, chunks of the attention save no memory worth their time; of accelerators' memory
# that is more.
WHOLE_MAP = {"tensorflow": 1024, "jax": 4096}


def build_model(config: TrainConfig, spec: PatchSpec, constants: dict[str, Any] | None = None) -> TrainedRNAN:
    """Build the model that a configuration asks for, with fresh weights or those of `config.init`.

    Args:
        config: the resolved configuration.
        spec: what a patch is.
        constants: of a run that goes on, those of its network: its weights come from a checkpoint, not from `init`.

    Returns:
        The model, not compiled.

    Raises:
        InputError: `config.init` is not a model of this size or overflows in float16, or `config.network` has what a
            network has not.
    """
    task, dtype = spec.task, {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}.get(config.precision)
    details = {
        "model": config.model,
        "patch_size": config.patch_size,
        "batch_size": config.batch_size,
        "loss": config.loss,
        "seed": config.seed,
        "version": rnan_tf.__version__,
        "code": code_version(),
        **({"pairs": True} if config.pairs else {}),
        **({"noise": config.noise} if config.noise != NOISES[0] else {}),
    }
    card = ModelCard.of_task(task, spec.strengths, spec.conditional)
    design = {"channels": task.channels, "scale": task.scale, "conditional": spec.conditional, "dtype": dtype}
    try:
        model = TrainedRNAN(**{**VARIANTS[config.model], **design, **config.network})
    except (TypeError, ValueError) as error:
        if not config.network:
            raise
        raise InputError(f"`network` {json.dumps(config.network)}: {first_line(error)}") from error
    details |= {"parameters": model.count_params(), "multiply_adds": round(multiply_adds(model))}
    model.metadata = card.with_details(**details).to_dict()
    whole_map = WHOLE_MAP[keras.backend.backend()]
    if (config.patch_size // model.space_to_depth) ** 2 <= whole_map:
        model = model.rebuild(chunk_size=whole_map)
    if constants:
        model = model if constants == constants_of(model) else model.rebuild(**constants)
    elif config.init:
        start = load_model(config.init)
        model = model.rebuild(**constants_of(start))  # those of a converted network belong to its weights
        take_weights(model, start, config.init)
    if config.precision == "float16" and model.normalize_over == "queries":
        raise InputError(
            f"`precision` float16 overflows in {config.init or 'a network'} that normalises over the queries, whose "
            "attention adds up as many values as an image has pixels; give bfloat16"
        )
    return model


def constants_of(model: RNAN) -> dict[str, Any]:
    """Return the arguments of a network that are not its size, and without which its weights are worth nothing."""
    return {name: model.get_config()[name] for name in CONSTANTS}


def code_version() -> str | None:
    """Return the commit of the training code, marked where files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def take_weights(model: RNAN, start: RNAN, name: str) -> None:
    """Give a model the weights of another, whose first and last layers may be of another task's shapes.

    Args:
        model: receives the weights; what does not fit stays as it is, and is printed.
        start: the other model.
        name: what to call it in messages.

    Raises:
        InputError: more than first and last layers differ.
    """
    ours, theirs = ({weight.path: weight for weight in each.weights} for each in (model, start))
    fitting = {path for path in ours.keys() & theirs.keys() if ours[path].shape == theirs[path].shape}
    unlike = [path for path in {**ours, **theirs} if path not in fitting]
    if any(path.split("/")[0].rstrip("_0123456789") not in ("head", "tail", "upsample") for path in unlike):
        raise InputError(f"{name}: its weights are not of the model size that is to be trained; give another `model`")
    for path in fitting:
        ours[path].assign(theirs[path])
    if unlike:
        print(f"not from {name}, as another task's have other shapes: {', '.join(unlike)}")
