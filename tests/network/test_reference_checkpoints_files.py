"""rnan_tf.network.reference_checkpoints reading files: which are read, which are refused, and what is said of them."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from rnan_tf.errors import InputError
from rnan_tf.network import reference_checkpoints
from rnan_tf.network.reference_checkpoints import load_reference
from tests.helpers.reference import FIXTURES, REFERENCE, model_of, state_dict


def same_weights(model, fixture):
    expected = model_of(fixture)
    assert model.get_config() == expected.get_config()
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_npz_without_prefix(tmp_path):
    np.savez(tmp_path / "model.npz", **state_dict("sr_x2_f16_g3"))
    same_weights(load_reference(str(tmp_path / "model.npz")), "sr_x2_f16_g3")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pt: no such file"):
        load_reference(tmp_path / "nothing.pt")


def write_text(path):
    path.write_text("PSNR 28.16\n" * 50)


def write_nothing(path):
    path.write_bytes(b"")


def write_half(path):
    content = (REFERENCE / f"{FIXTURES[0]}.npz").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_damaged(path):
    content = bytearray((REFERENCE / f"{FIXTURES[0]}.npz").read_bytes())
    content[5000:5500] = bytes(500)
    path.write_bytes(content)


def write_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize("write", [write_text, write_nothing, write_half, write_damaged, write_array])
def test_not_an_npz(tmp_path, write):
    path = tmp_path / "model.npz"
    write(path)
    with pytest.raises(InputError, match=r"model\.npz: not a readable \.npz file"):
        load_reference(path)


def test_a_small_file_that_would_take_much_memory(tmp_path):
    head = np.zeros((4000, 3, 3, 3), np.float32)
    np.savez_compressed(tmp_path / "zeros.npz", **{"head.0.weight": np.zeros((10**5, 3, 3, 3), np.float32)})
    with pytest.raises(InputError, match=r"zeros\.npz: .* bytes that would inflate to 10,800,"):
        load_reference(tmp_path / "zeros.npz")
    np.savez(tmp_path / "head.npz", **{"head.0.weight": head, "tail.0.weight": np.zeros((3, 4000, 3, 3), np.float32)})
    with pytest.raises(InputError, match=r"head\.npz: not a checkpoint of RNAN's reference code"):
        load_reference(tmp_path / "head.npz")


def test_a_pytorch_tensor_that_repeats_its_elements(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"head.0.weight": torch.zeros(1).expand(10**8)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: tensors that are larger than their file"):
        load_reference(tmp_path / "model.pt")


def test_the_path_comes_first_in_every_message(tmp_path):
    """Also for what NumPy or the model itself finds wrong."""
    for name, value in (("head.0.weight", np.zeros((15, 3, 3, 3))), ("head.0.bias", np.array(["a"]))):
        np.savez(tmp_path / "model.npz", **state_dict("restore_rgb_f16_g3", **{name: value}))
        with pytest.raises(InputError, match=r"model\.npz: "):
            load_reference(tmp_path / "model.npz")


def as_is(tensors):
    return tensors


def parallel(tensors):
    return {f"module.{name}": value for name, value in tensors.items()}


def nested(tensors):
    return {"epoch": 3, "state_dict": tensors}


def nested_parallel(tensors):
    return nested(parallel(tensors))


def parameters(tensors):
    import torch

    return {name: torch.nn.Parameter(value) for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("wrap", "suffix"),
    [(as_is, ".pt"), (as_is, ".pth"), (nested_parallel, ".pth"), *((f, ".pt") for f in (parallel, nested, parameters))],
)
def test_pytorch_file(tmp_path, wrap, suffix):
    torch = pytest.importorskip("torch")
    path = tmp_path / f"model{suffix}"
    torch.save(wrap({n: torch.tensor(value) for n, value in state_dict("sr_x2_f16_g3").items()}), path)
    same_weights(load_reference(path), "sr_x2_f16_g3")


@pytest.mark.parametrize("write", [write_text, write_nothing, write_half])
def test_not_a_pytorch_file(tmp_path, write):
    pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(InputError, match=r"model\.pt: not a PyTorch state_dict"):
        load_reference(path)


@pytest.mark.parametrize("content", [[1, 2], {"lr": 0.1}, {"state_dict": None}], ids=str)
def test_a_pytorch_file_of_something_else(tmp_path, content):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: not a PyTorch state_dict"):
        load_reference(tmp_path / "model.pt")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused(tmp_path, save):
    torch = pytest.importorskip("torch")
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    if save == "torch":
        torch.save({"head.0.weight": Malicious(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    with pytest.raises(InputError, match=r"not a PyTorch state_dict that loads with weights_only=True"):
        load_reference(path)
    assert not trace.exists()
    if save == "torch":
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert trace.exists()  # the file does what it was made for


def test_without_pytorch_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    write_text(tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"needs PyTorch: pip install 'rnan-tf\[torch\]'"):
        load_reference(tmp_path / "model.pt")


def test_a_network_that_its_weights_cannot_fill_is_not_built(tmp_path, monkeypatch):
    head = np.random.default_rng(0).random((400, 3, 3, 3), np.float32)
    np.savez(tmp_path / "model.npz", **{"head.0.weight": head})
    monkeypatch.setattr(reference_checkpoints, "RNAN", lambda **_: pytest.fail("it was built"))
    with pytest.raises(InputError, match=r"10,800 weights of 69,44\d,\d+ or more"):
        load_reference(tmp_path / "model.npz")
