"""Weights of the authors' PyTorch code -> `RNAN`."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.files import check_inflation
from rnan_tf.network.model import DIV2K_MEAN, RNAN, least_parameters

# The reference keeps its fixed mean shift among the weights of its super-resolution networks.
_MEAN_SHIFT = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")


def from_reference(state_dict: Mapping[str, np.ndarray]) -> RNAN:
    """Build the RNAN that a reference checkpoint describes, with its weights.

    The model takes and returns images in [0, 1]; inside it works on [0, 255] and normalises over the queries, as the
    reference does.

    Args:
        state_dict: the reference's tensor names -> float arrays in its layout (conv OIHW, transposed conv IOHW).

    Returns:
        The model; filters, blocks, channels and scale are inferred from names and shapes.

    Raises:
        InputError: tensors are missing, left over or of another shape; the message names them.

    Reference: github.com/yulunzhang/RNAN, model/rnan.py of its two code folders.
    """
    tensors = {name: np.asarray(value, dtype="float32") for name, value in state_dict.items()}
    config = _infer_config(tensors)
    held, needed = sum(t.size for t in tensors.values()), least_parameters(config["filters"], config["num_blocks"])
    if 2 * held < needed:  # before they are allocated; smaller gaps are named tensor by tensor below
        raise InputError(f"not a checkpoint of RNAN's reference code: {held:,} weights of {needed:,} or more are there")
    try:
        model = RNAN(**config)
    except ValueError as error:
        raise InputError(str(error)) from error
    expected = dict(_reference_names(model))
    mean_shift = _MEAN_SHIFT if model.scale > 1 else ()
    missing = [n for n in (*_tensor_names(expected), *mean_shift) if n not in tensors]
    left_over = [n for n in tensors if n not in {*_tensor_names(expected), *mean_shift}]
    if missing or left_over:
        raise InputError(
            f"not a checkpoint of RNAN's reference code: missing {_shorten(missing)}; left over {_shorten(left_over)}"
        )
    if mean_shift:
        _check_mean_shift(tensors)
    for name, layer in expected.items():
        _assign(layer, name, tensors, model)
    return model


def load_reference(path: str | Path) -> RNAN:
    """Read a reference checkpoint from a file and convert it.

    Args:
        path: a PyTorch file (`.pt`, `.pth`; needs the extra `[torch]`; read without running code from it), or an
            `.npz` with the same names, each with or without the prefix `state_dict/`.

    Returns:
        The model, see `from_reference`.

    Raises:
        InputError: the file is missing, cannot be read, or does not describe an RNAN.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        tensors = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
        return from_reference(tensors)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _read_npz(path):
    try:
        _check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            prefixed = [n for n in file.files if n.startswith("state_dict/")]
            return {n.removeprefix("state_dict/"): file[n] for n in prefixed or file.files}
    except InputError:
        raise
    except Exception as error:  # np.load raises whatever its zip reader meets, or returns an array that is no archive
        raise InputError(f"not a readable .npz file ({error})") from error


def _read_torch(path):
    try:
        import torch
    except ImportError as error:
        raise InputError("reading a PyTorch file needs PyTorch: pip install 'rnan-tf[torch]'") from error
    try:
        _check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch.load raises whatever its unpickler or zip reader meets
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise InputError(f"not a PyTorch state_dict that loads with weights_only=True ({reason})") from error
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(
        isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in content.items()
    ):
        raise InputError("not a PyTorch state_dict: a mapping of names to tensors is expected")
    # A view that repeats its elements is as large as it likes.
    if sum(v.numel() for v in content.values()) > path.stat().st_size:
        raise InputError("tensors that are larger than their file")
    return {n.removeprefix("module."): v.detach().float().numpy() for n, v in content.items()}


def _check_zip(path):
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_inflation(archive)


def _infer_config(tensors):
    if "head.0.weight" not in tensors or tensors["head.0.weight"].ndim != 4 or not tensors["head.0.weight"].size:
        raise InputError("not a checkpoint of RNAN's reference code: missing head.0.weight (filters, channels, 3, 3)")
    filters, channels = tensors["head.0.weight"].shape[:2]
    indices = [int(m[1]) for name in tensors if (m := re.match(r"body\.(\d+)\.", name))]
    if max(indices, default=0) > len(tensors):
        raise InputError(f"not a checkpoint of RNAN's reference code: body.{max(indices)} among {len(tensors)} tensors")
    scale = 1
    if "sub_mean.weight" in tensors or "tail.0.0.weight" in tensors:
        widened = (*np.shape(tensors.get("tail.0.0.weight", ())), 0)[0] // filters
        scale = {9: 3, 4: 4 if "tail.0.2.weight" in tensors else 2}.get(widened, 2)
    return {
        "filters": int(filters),
        # body.0 .. body.(n-1) are local blocks and body.n is a convolution; two non-local blocks are outside it.
        "num_blocks": max(indices, default=0) + 2,
        "channels": int(channels),
        "scale": scale,
        "normalize_over": "queries",
        "value_range": 255.0,
    }


def _reference_names(model: RNAN) -> Iterator[tuple]:
    """Yield (name in the reference, Keras convolution) for every convolution of the model."""
    yield "head.0", model.get_layer("head")
    yield from _attention_block("body_nl_low.0", model.get_layer("rnab_low"))
    for i in range(model.num_blocks - 2):
        yield from _attention_block(f"body.{i}", model.get_layer(f"rab_{i}"))
    yield f"body.{model.num_blocks - 2}", model.get_layer("body")
    yield from _attention_block("body_nl_high.0", model.get_layer("rnab_high"))
    if model.scale == 1:
        yield "tail.0", model.get_layer("tail")
        return
    for i in range(2 if model.scale == 4 else 1):
        yield f"tail.0.{2 * i}", model.get_layer(f"upsample_{i}")
    yield "tail.1", model.get_layer("tail")


def _attention_block(name, block):
    mask, branch = block.mask, f"{name}.body.0.RA_MB.0"
    yield from _residual_block(f"{name}.body.0.RA_RB1.0", block.head)
    for i, part in enumerate(block.trunk):
        yield from _residual_block(f"{name}.body.0.RA_TB.0.body.{i}", part)
    if block.non_local:
        for theirs, ours in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("W", "w")):
            yield f"{branch}.MB_RB1.0.{theirs}", getattr(mask.attention, ours)
    yield from _residual_block(f"{branch}.MB_RB1.{1 if block.non_local else 0}", mask.rb1)
    yield f"{branch}.MB_Down.0", mask.down
    for i, part in enumerate(mask.rb2):
        yield from _residual_block(f"{branch}.MB_RB2.{i}", part)
    yield f"{branch}.MB_Up.0", mask.up
    yield from _residual_block(f"{branch}.MB_RB3.0", mask.rb3)
    yield f"{branch}.MB_1x1conv.0", mask.project
    for i, part in enumerate(block.tail):
        yield from _residual_block(f"{name}.body.0.RA_tail.{i}", part)
    yield f"{name}.body.1", block.conv


def _residual_block(name, block):
    yield f"{name}.body.0", block.conv1
    yield f"{name}.body.2", block.conv2


def _tensor_names(names):
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def _assign(layer, name, tensors, model):
    # OIHW -> HWIO; the transposed convolution's IOHW -> HWOI, which is Keras' layout for it.
    kernel = tensors[f"{name}.weight"]
    kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    bias = tensors[f"{name}.bias"]
    fits = kernel.shape == tuple(layer.kernel.shape) and bias.shape == tuple(layer.bias.shape)
    if layer.name.startswith("upsample") and fits:
        order = _shuffle_order(model.filters, kernel.shape[-1] // model.filters)
        kernel, bias = kernel[..., order], bias[order]
    for part, value, variable in (("weight", kernel, layer.kernel), ("bias", bias, layer.bias)):
        if value.shape != tuple(variable.shape):
            raise InputError(
                f"{name}.{part} has shape {tensors[f'{name}.{part}'].shape}, which does not fit a model of "
                f"{model.filters} filters and {model.channels} channels"
            )
        variable.assign(value)


def _shuffle_order(filters, blocks):
    """PyTorch shuffles channels ordered (channel, row, column), TensorFlow (row, column, channel)."""
    return np.arange(filters * blocks).reshape(filters, blocks).T.ravel()


def _check_mean_shift(tensors):
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        same_kernel = np.array_equal(tensors[f"{name}.weight"].squeeze(), np.eye(3, dtype="float32"))
        if not same_kernel or not np.allclose(tensors[f"{name}.bias"], sign * 255 * np.array(DIV2K_MEAN), atol=1e-3):
            raise InputError(f"{name} is not the DIV2K mean shift {DIV2K_MEAN} of range [0, 255]")


def _shorten(names):
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "none"
