"""The command `rnan-tf convert`: models of the authors' weights, and what they know of their task."""

import errno
import os
import pathlib

import numpy as np
import pytest

from rnan_tf.network.cost import multiply_adds
from rnan_tf.network.loading import load_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.tasks.task import get_task
from tests.helpers.reference import REFERENCE


class TestConvert:
    @pytest.mark.parametrize(
        "fixture, options, task, strengths",
        [
            ("restore_rgb_f16_g3", "--task demosaic", "demosaic", (0, 0)),
            ("restore_gray_f16_g3", "--task denoise-gray --sigma 50", "denoise-gray", (50, 50)),
            ("sr_x3_f16_g3", "--task sr-x3", "sr-x3", (0, 0)),
            ("sr_x2_f16_g3", "", None, None),
        ],
    )
    def test_converted_models_compute_what_the_reference_does(self, rnan_tf, fixture, options, task, strengths):
        with np.load(REFERENCE / f"{fixture}.npz") as file:
            reference = {name: file[name] for name in file.files}
        np.savez("weights.npz", **{n: x for n, x in reference.items() if n.startswith("state_dict/")})
        code, out, err = rnan_tf(f"convert weights.npz sub/m.keras {options}")
        assert (code, err) == (0, []) and out[0].startswith("wrote sub/m.keras: ")
        model = load_model("sub/m.keras")
        details = {"converted_from": "weights.npz", "parameters": model.count_params()}
        details["multiply_adds"] = round(multiply_adds(model))
        if task is None:
            assert model.metadata == details
        else:
            expected = ModelCard.of_task(get_task(task), strengths, conditional=False, details=details)
            assert card_of(model, "m.keras") == expected and model.metadata == expected.to_dict()
        restored = model(reference["input"].transpose(0, 2, 3, 1) / 255) * 255
        expected = reference["output"].transpose(0, 2, 3, 1)
        assert np.abs(restored - expected).max() < 1e-3 * np.abs(expected).max()
        assert os.listdir("sub") == ["m.keras"]

    def test_pytorch_file(self, rnan_tf):
        torch = pytest.importorskip("torch")
        with np.load(REFERENCE / "restore_gray_f16_g3.npz") as file:
            state = {n.removeprefix("state_dict/"): file[n] for n in file.files if n.startswith("state_dict/")}
        torch.save({name: torch.tensor(value) for name, value in state.items()}, "weights.pt")
        assert rnan_tf("convert weights.pt m.keras --task jpeg --quality 10-40")[0] == 0
        model = load_model("m.keras")
        card = card_of(model, "m.keras")
        assert (card.task, card.strength, card.strengths) == ("jpeg", "quality", (10, 40))
        assert card.details["converted_from"] == "weights.pt"
        np.testing.assert_array_equal(model.get_layer("head").bias, state["head.0.bias"])

    def test_cannot_be_written(self, refused, monkeypatch):
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(RNAN, "save", save)
        pathlib.Path("m.keras").write_text("old")
        refused(f"convert {REFERENCE}/restore_gray_f16_g3.npz m.keras", 1, "m.keras", "No space left on device")
