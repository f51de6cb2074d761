"""rnan_tf.restoring.runtimes.keras."""

import numpy as np
import pytest

from rnan_tf.errors import InputError
from rnan_tf.network.loading import save_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.runtimes import keras as runtimes_keras
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.keras import KerasRuntime, has_bfloat16
from rnan_tf.tasks.task import get_task
from tests.helpers.random_networks import LITE, PAPER, random_model

SMALL = {"filters": 8, "num_blocks": 2}


def photo(height, width):
    return np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("conditional", [False, True])
def test_gives_what_the_model_gives(conditional):
    model = random_model("denoise", **SMALL, conditional=conditional)
    runtime, batch, results = KerasRuntime(model), photo(13, 10), []
    for strength in (25.5, 51.0):
        inputs = {"image": batch, "level": np.array([strength / 255], "float32")} if conditional else batch
        results.append(runtime.run(batch, strength))
        assert results[-1].dtype == np.float32
        np.testing.assert_allclose(results[-1], model(inputs), atol=1e-5)
        np.testing.assert_array_equal(runtime.at(strength)(batch), results[-1])
    assert (np.abs(results[0] - results[1]).max() > 1e-3) == conditional


def test_xla_is_off(monkeypatch):
    # What Keras decides on a machine with a GPU.
    monkeypatch.setattr(RNAN, "_resolve_auto_jit_compile", lambda self: True)
    model = random_model("denoise", **SMALL)
    KerasRuntime(model)
    assert not model.jit_compile


def test_the_card_is_the_models_or_the_given_one():
    model = RNAN(**SMALL)
    with pytest.raises(InputError, match=r"^the model: does not say its task; give `task`"):
        KerasRuntime(model)
    card = ModelCard.of_task(get_task("denoise"), (25, 25), False)
    assert KerasRuntime(model, card).card is card
    model.metadata = card.to_dict()
    assert KerasRuntime(model).card == card


def test_a_file_that_does_not_say_its_task(tmp_path):
    save_model(RNAN(**SMALL), tmp_path / "m.keras")
    with pytest.raises(InputError, match=r"m\.keras: does not say its task; give `task`"):
        open_runtime(tmp_path / "m.keras")
    runtime = open_runtime(tmp_path / "m.keras", "demosaic")
    assert (runtime.card.task, runtime.name) == ("demosaic", str(tmp_path / "m.keras"))


def test_a_preset():
    runtime = open_runtime("demosaic")
    assert (runtime.name, runtime.card.task) == ("demosaic", "demosaic")
    assert runtime.card.details["steps"] > 0


def test_tiles_at_full_resolution_are_smaller():
    tiles = [KerasRuntime(random_model("denoise", **network)).tiling.tile for network in (LITE, PAPER)]
    assert tiles == [96, 64]


def test_copies_restore_tiles_side_by_side(monkeypatch):
    """What they make is what the model makes alone, and there are as many as tiles repay and cores can use."""
    monkeypatch.setattr(runtimes_keras, "count_cores", lambda: 3)
    runtime, tiles = KerasRuntime.open("denoise"), np.random.default_rng(0).random((70, 16, 20, 3), np.float32)
    busy, most, restore = [], [], runtime._restore

    def watched(model, *arguments):
        busy.append(model)
        most.append(len(busy))
        assert len(set(map(id, busy))) == len(busy)  # no model is run by two threads
        result = restore(model, *arguments)
        busy.remove(model)
        return result

    monkeypatch.setattr(runtime, "_restore", watched)
    together = np.concatenate([runtime.run(batch, 25) for batch in np.split(tiles, 10)])
    assert max(most) <= 3 and runtime._idle.qsize() == 3
    alone = KerasRuntime(runtime.model)
    np.testing.assert_array_equal(together, np.concatenate([alone.run(tile[None], 25) for tile in tiles]))


def test_a_model_that_may_change_has_no_copies():
    model = random_model("denoise", **SMALL)
    runtime, tiles = KerasRuntime(model), np.repeat(photo(16, 16), 40, axis=0)
    runtime.run(tiles)
    model.set_weights([0.9 * weight for weight in model.get_weights()])
    expected = KerasRuntime(model).run(tiles)
    np.testing.assert_array_equal(runtime.run(tiles), expected)


class TestBfloat16:
    def test_it_is_a_little_worse(self, monkeypatch):
        monkeypatch.setattr(runtimes_keras, "has_bfloat16", lambda: True)
        exact, quick = (open_runtime("denoise", precision=precision) for precision in ("float32", "bfloat16"))
        batch = photo(64, 48)
        difference = np.abs(quick.run(batch, 25) - exact.run(batch, 25))
        assert 1e-5 < difference.mean() < 2e-3 and difference.max() < 0.03

    def test_a_processor_without_it_is_one_line(self, monkeypatch):
        monkeypatch.setattr(runtimes_keras, "has_bfloat16", lambda: False)
        with pytest.raises(InputError, match="no instructions for bfloat16; leave `precision` out"):
            open_runtime("denoise", precision="bfloat16")

    def test_exported_networks_have_a_precision(self):
        with pytest.raises(InputError, match=r"^a\.onnx: the precision of an exported network is fixed; leave"):
            open_runtime("a.onnx", precision="bfloat16")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("model name\t: bf16\nflags\t\t: fpu avx2 avx512f\n", False),
            ("flags\t\t: fpu avx512_bf16 amx_tile\n", True),
            ("flags\t\t: fpu amx_bf16\n", True),
            ("Features\t: fp asimd bf16 i8mm\n", True),
            ("Features\t: fp asimd svebf16\n", False),
            (None, True),
        ],
    )
    def test_what_linux_says_of_the_processor(self, tmp_path, text, expected):
        if text is not None:
            (tmp_path / "cpuinfo").write_text(text)
        assert has_bfloat16(tmp_path / "cpuinfo") == expected
