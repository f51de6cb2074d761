"""rnan_tf.restoring.runtimes: a network of every kind restores as its Keras model."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rnan_tf.cli import main
from rnan_tf.errors import InputError
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes import open_runtime, saved_model_folder
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.restoring.runtimes.onnx import OnnxRuntime
from rnan_tf.restoring.runtimes.runtime import Runtime, count_cores
from rnan_tf.restoring.runtimes.saved_model import SavedModelRuntime
from rnan_tf.restoring.tiling import Tiling, restore
from tests.restoring.runtimes.conftest import KINDS, OVERLAP, TILE, batch_of, pixels_of

CLASSES = {"tflite": LiteRtRuntime, "onnx": OnnxRuntime, "saved_model": SavedModelRuntime, "keras": KerasRuntime}
kinds = pytest.mark.parametrize("kind", KINDS)


# === What all have in common ===


@kinds
def test_each_is_opened_by_its_class(opened, exports, kind):
    runtime = opened[kind][1]
    assert type(runtime) is CLASSES[kind] and isinstance(runtime, Runtime)
    name = exports[kind][1] / "10" if kind == "saved_model" else exports[kind][1]
    assert runtime.name == str(name)


@kinds
def test_predictions_are_kerass(opened, kind):
    model, runtime = opened[kind]
    batch = batch_of(3, TILE, TILE, 3)
    expected = model.run(batch, 25)
    restored = runtime.run(batch, 25)
    assert restored.dtype == np.float32 and restored.shape == expected.shape
    assert np.abs(restored - expected).max() < 1e-5
    np.testing.assert_array_equal(runtime.at(25)(batch), restored)


@pytest.mark.parametrize("kind", [kind for kind, (task, _) in KINDS.items() if task == "denoise"])
def test_a_conditional_model_takes_the_strength(opened, kind):
    runtime, batch = opened[kind][1], batch_of(1, TILE, TILE, 3)
    assert np.abs(runtime.run(batch, 50) - runtime.run(batch)).max() > 1e-3
    np.testing.assert_array_equal(runtime.run(batch), runtime.run(batch, 0))


@kinds
@pytest.mark.parametrize("count", [1, 5])
def test_each_tile_may_have_a_strength_of_its_own(opened, kind, count):
    runtime, batch, strengths = opened[kind][1], batch_of(count, TILE, TILE, 3), np.linspace(5, 60, count)
    alone = [runtime.run(tile[None], float(strength))[0] for tile, strength in zip(batch, strengths, strict=True)]
    np.testing.assert_array_equal(runtime.run(batch, strengths), alone)


def test_inputs_are_what_the_network_wants(opened):
    batch = batch_of(2, TILE, TILE, 3).astype(np.float64)
    inputs = opened["tflite"][1].inputs(batch[:, ::-1], 51)
    assert inputs["image"].dtype == np.float32 and inputs["image"].flags.c_contiguous
    np.testing.assert_array_equal(inputs["level"], np.float32([0.2, 0.2]))
    inputs = opened["tflite"][1].inputs(batch, np.array([51, 102]))
    np.testing.assert_array_equal(inputs["level"], np.float32([0.2, 0.4]))
    assert set(opened["onnx"][1].inputs(batch, 51)) == {"image"}


@kinds
def test_what_it_says_of_itself(opened, exports, kind):
    card, expected = opened[kind][1].card, opened[kind][0].card
    assert card.details == expected.details == {"steps": 7}
    assert (card.tile, card.overlap) == ((TILE, OVERLAP) if kind == "tflite" else (None, None))
    data = {"tile": None, "overlap": None}
    assert {**card.to_dict(), **data} == {**expected.to_dict(), **data}
    task = KINDS[kind][0]
    assert open_runtime(exports[kind][1], task).card == card
    with pytest.raises(InputError, match=f"trained for task {task}, not jpeg; give a model of that task") as caught:
        open_runtime(exports[kind][1], "jpeg")
    assert str(caught.value).startswith(opened[kind][1].name + ": ")


def test_operators(opened):
    assert opened["tflite"][1].operators()["CONV_2D"] > 40
    onnx = opened["onnx"][1].operators()
    assert onnx["Conv"] > 40 and onnx["Loop"] == 2 and onnx["MatMul"] == 4  # the loops' bodies too
    assert opened["saved_model"][1].operators()["Conv2D"] > 40
    assert opened["keras"][1].operators()["ResidualAttentionBlock"] == 2
    for _, runtime in opened.values():
        counts = list(runtime.operators().values())
        assert counts == sorted(counts, reverse=True)


@kinds
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_tiles_side_by_side_are_what_they_are_alone(exports, kind, cores, monkeypatch):
    monkeypatch.setattr("rnan_tf.restoring.runtimes.runtime.count_cores", lambda: cores)
    runtime, batch = open_runtime(exports[kind][1]), batch_of(5, TILE, TILE, 3)
    assert runtime.tiling.batch == 4 * cores
    alone = [runtime.run(tile[None], 25)[0] for tile in batch]
    np.testing.assert_array_equal(runtime.run(batch, 25), alone)


@kinds
def test_a_whole_photograph(opened, kind):
    model, runtime = opened[kind]
    pixels, options = pixels_of(29, 43, 3), {} if kind == "onnx" else {"sigma": 25}
    tiling = Restorer(runtime).tiling()
    fixed = Tiling(TILE, OVERLAP, fixed=True, batch=4 * count_cores())
    assert tiling == (fixed if kind == "tflite" else Tiling(batch=4 * count_cores()))
    # A SavedModel has tiles of its own inside.
    inside = Tiling(TILE, OVERLAP) if kind == "saved_model" else tiling
    expected = restore(model.at(25), pixels, runtime.card.scale, inside).astype(int)
    assert np.abs(restore(runtime.at(25), pixels, runtime.card.scale, tiling) - expected).max() <= 1
    assert np.abs(Restorer(runtime)(pixels, **options) - expected).max() <= 1


# === The command line ===


class TestCommandLine:
    @kinds
    def test_restore(self, opened, exports, tmp_path, kind):
        """`rnan-tf restore` with an export gives what it gives with the network."""
        model, runtime = opened[kind]
        pixels = pixels_of(21, 43, 3)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        fixed = runtime.card.tile is not None
        more = [] if fixed else ["--tile", "16", "--overlap", "4"]
        more += ["--sigma", "25"] if runtime.card.conditional else []
        out, path = tmp_path / "out.png", str(exports[kind][1])
        assert main(["restore", str(tmp_path / "photo.png"), "-o", str(out), "--model", path, *more]) == 0
        tiling = Tiling(TILE, OVERLAP, fixed=True) if fixed else Tiling(16, 4)
        expected = restore(model.at(25), pixels, runtime.card.scale, tiling)
        assert np.abs(np.asarray(Image.open(out)).astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("option", ["--tile", "--overlap"])
    def test_a_fixed_tile_cannot_be_changed(self, exports, tmp_path, capsys, option):
        Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
        path, size = str(exports["tflite"][1]), "32" if option == "--tile" else "8"
        assert main(["restore", str(tmp_path / "photo.png"), "-o", "out.png", "--model", path, option, size]) == 2
        assert "its tiles have a fixed size; leave --tile and --overlap out" in capsys.readouterr().err

    @pytest.mark.parametrize("kind", ["tflite", "saved_model"])
    def test_evaluate_and_self_ensemble(self, exports, tmp_path, capsys, kind):
        Image.fromarray(pixels_of(20, 24, 3)).save(tmp_path / "photo.png")
        model = ["--model", str(exports[kind][1]), "--self-ensemble"]
        assert main(["evaluate", "--task", "denoise", "--sigma", "25", "--data", str(tmp_path), *model]) == 0
        assert "dB" in capsys.readouterr().out

    def test_wrong_strength_and_damage(self, exports, tmp_path, capsys):
        Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
        restore_it = ["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png"), "--model"]
        assert main([*restore_it, str(exports["tflite"][1]), "--sigma", "80"]) == 2
        (tmp_path / "bad.onnx").write_bytes(b"nothing")
        assert main([*restore_it, str(tmp_path / "bad.onnx")]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 2 and "80" in errors[0] and "bad.onnx: cannot be loaded" in errors[1]


# === Folders of SavedModels ===


class TestFolders:
    @pytest.fixture
    def served(self, tmp_path):
        """A folder with versions, as a server has them; their content does not matter."""
        for name in ("1", "9", "10", "notes", ".11", "12"):
            (tmp_path / "rnan" / name).mkdir(parents=True)
            if name != "12":  # being written, or damaged
                (tmp_path / "rnan" / name / "saved_model.pb").touch()
        return tmp_path / "rnan"

    def test_the_newest_version(self, served):
        assert saved_model_folder(served) == served / "10"
        shutil.rmtree(served / "10")
        assert saved_model_folder(served) == served / "9"

    def test_a_version_itself(self, served):
        assert saved_model_folder(served / "1") == served / "1"

    def test_none(self, served, tmp_path):
        assert saved_model_folder(served / "12") is None
        assert saved_model_folder(tmp_path / "nothing") is None
        assert saved_model_folder(served / "1" / "saved_model.pb") is None
        with pytest.raises(InputError, match=r"12: no best\.keras in this folder"):
            open_runtime(served / "12")

    def test_a_restorer_of_either(self, opened, exports):
        pixels, folder = pixels_of(31, 23, 3), exports["saved_model"][1]
        restorers = [Restorer.from_preset(source) for source in (folder, str(folder), folder / "10")]
        expected = Restorer(opened["keras"][1])(pixels, sigma=30, tile=TILE, overlap=OVERLAP).astype(int)
        for restorer in restorers:
            assert restorer.card == opened["keras"][1].card and restorer.task.name == "denoise"
            assert np.abs(restorer(pixels, sigma=30) - expected).max() <= 1
        with pytest.raises(InputError, match="trained for task denoise, not jpeg-color"):
            Restorer.from_preset(folder, "jpeg-color")
        with pytest.raises(InputError, match=r"2: cannot be loaded .*; copy or export it again"):
            Restorer.from_preset(folder / "2")


def test_the_card_in_a_tflite_file_is_json(exports, opened):
    content = exports["tflite"][1].read_bytes()
    data, _ = json.JSONDecoder().raw_decode(content[content.index(b'{"task"') :].decode("latin-1"))
    assert data == opened["tflite"][1].card.to_dict()
    assert (data["tile"], data["overlap"], data["strengths"]) == (TILE, OVERLAP, [0, 75])
