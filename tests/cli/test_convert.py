"""The command `rnan-tf convert`: models of the authors' weights, and what they know of their task."""

import errno
import os
import pathlib

import numpy as np
import pytest
from rnan_tf.restoring.loading import load_model

from rnan_tf.network.model import RNAN
from tests.helpers.reference import REFERENCE


class TestConvert:
    @pytest.mark.parametrize(
        "fixture, options, metadata",
        [
            ("restore_rgb_f16_g3", "--task demosaic", {"task": "demosaic", "level": None}),
            ("restore_gray_f16_g3", "--task denoise-gray --level 50", {"task": "denoise-gray", "level": [50, 50]}),
            ("sr_x3_f16_g3", "--task sr", {"task": "sr", "level": [3, 3]}),
            ("sr_x2_f16_g3", "", {}),
        ],
    )
    def test_converted_models_compute_what_the_reference_does(self, rnan_tf, fixture, options, metadata):
        with np.load(REFERENCE / f"{fixture}.npz") as file:
            reference = {name: file[name] for name in file.files}
        np.savez("weights.npz", **{n: x for n, x in reference.items() if n.startswith("state_dict/")})
        code, out, err = rnan_tf(f"convert weights.npz sub/m.keras {options}")
        assert (code, err) == (0, []) and out[0].startswith("wrote sub/m.keras: ")
        model = load_model("sub/m.keras")
        assert model.metadata == {"converted_from": "weights.npz", **metadata}
        restored = model(reference["input"].transpose(0, 2, 3, 1) / 255) * 255
        expected = reference["output"].transpose(0, 2, 3, 1)
        assert np.abs(restored - expected).max() < 1e-3 * np.abs(expected).max()
        assert os.listdir("sub") == ["m.keras"]

    def test_pytorch_file(self, rnan_tf):
        torch = pytest.importorskip("torch")
        with np.load(REFERENCE / "restore_gray_f16_g3.npz") as file:
            state = {n.removeprefix("state_dict/"): file[n] for n in file.files if n.startswith("state_dict/")}
        torch.save({name: torch.tensor(value) for name, value in state.items()}, "weights.pt")
        assert rnan_tf("convert weights.pt m.keras --task jpeg --level 10-40")[0] == 0
        model = load_model("m.keras")
        assert model.metadata == {"task": "jpeg", "level": [10, 40], "converted_from": "weights.pt"}
        np.testing.assert_array_equal(model.get_layer("head").bias, state["head.0.bias"])

    def test_cannot_be_written(self, refused, monkeypatch):
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(RNAN, "save", save)
        pathlib.Path("m.keras").write_text("old")
        refused(f"convert {REFERENCE}/restore_gray_f16_g3.npz m.keras", 1, "m.keras", "No space left on device")
