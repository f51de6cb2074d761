"""rnan_tf.restoring.runtimes: a network of every kind restores as its Keras model; what is none is refused."""

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
from rnan_tf.restoring.tiling import Tiling, restore, self_ensemble
from tests.restoring.runtimes.conftest import KINDS, OVERLAP, TILE

CLASSES = {"tflite": LiteRtRuntime, "onnx": OnnxRuntime, "saved_model": SavedModelRuntime, "keras": KerasRuntime}
kinds = pytest.mark.parametrize("kind", KINDS)
files = pytest.mark.parametrize("kind", ["tflite", "onnx"])


def batch_of(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def pixels_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


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


# === Tiles of one size only ===


@pytest.mark.parametrize("height, width", [(1, 1), (3, 16), (11, 14)])
def test_smaller_tiles_are_reflected_and_cropped(opened, height, width):
    model, runtime = opened["tflite"]
    batch = batch_of(2, height, width, 3)
    padded = np.pad(batch, ((0, 0), (0, TILE - height), (0, TILE - width), (0, 0)), mode="reflect")
    expected = model.run(padded, 25)[:, :height, :width]
    assert np.abs(runtime.run(batch, 25) - expected).max() < 1e-5


def test_larger_tiles_are_refused(opened):
    with pytest.raises(InputError, match=r"model.tflite: takes tiles of up to 20x20, not 16x24$"):
        opened["tflite"][1].run(batch_of(1, 16, 24, 3))


def test_a_margin_leaves_room_for_added_rows(opened):
    """The self-ensemble of a mosaic puts a row and a column around each tile."""
    runtime, pixels, seen = opened["tflite"][1], pixels_of(20, 20, 3), []

    def predict(batch):
        seen.append(batch.shape[1:3])
        return runtime.run(batch)

    restorer = Restorer(runtime)
    fixed = Tiling(TILE, OVERLAP, fixed=True, batch=4 * count_cores())
    assert restorer.tiling(margin=True) == fixed  # no mosaic: no row is added
    restorer.task = type(restorer.task)("demosaic", "mosaic", mosaic=True)
    tiling = restorer.tiling(margin=True)
    assert restore(self_ensemble(predict, is_mosaic=True), pixels, 1, tiling).shape == pixels.shape
    assert max(max(shape) for shape in seen) == TILE - 4 + 1


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (17, 33), (61, 90)])
@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_fixed_tiles_have_exactly_the_tiles_size(size, overlap):
    pixels = np.random.default_rng(0).integers(0, 2**16, (*size, 3), dtype=np.uint16)

    def predict(batch):
        assert batch.shape == (1, 16, 16, 3)
        return batch

    assert np.array_equal(restore(predict, pixels, 1, Tiling(16, overlap, fixed=True)), pixels)


def test_fixed_tiles_enlarge():
    pixels = pixels_of(21, 5, 3)
    restored = restore(lambda batch: batch.repeat(2, 1).repeat(2, 2), pixels, 2, Tiling(16, 4, fixed=True))
    assert np.array_equal(restored, pixels.repeat(2, 0).repeat(2, 1))


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


# === Bad files ===


class TestBadFiles:
    @pytest.mark.parametrize("name", ["none.tflite", "none.onnx", "none.keras", "none"])
    def test_missing(self, tmp_path, name):
        with pytest.raises(InputError, match=f"{name}: no such model"):
            open_runtime(tmp_path / name)

    @pytest.mark.parametrize("name", ["model.pb", "model.h5", "photo.png"])
    def test_another_kind(self, tmp_path, name):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=f"{name}: not a .keras file"):
            open_runtime(tmp_path / name)

    @pytest.mark.parametrize("keep", [0, 20, 5000])
    @files
    def test_damaged(self, exports, tmp_path, kind, keep):
        path = tmp_path / f"bad.{kind}"
        path.write_bytes(exports[kind][1].read_bytes()[:keep])
        with pytest.raises(InputError) as info:
            open_runtime(path)
        assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)

    @files
    def test_not_a_model(self, tmp_path, kind):
        path = tmp_path / f"bad.{kind}"
        path.write_bytes(b"PK\x03\x04" + bytes(1000))
        with pytest.raises(InputError, match="cannot be loaded"):
            open_runtime(path)

    @pytest.mark.parametrize("task", [None, "sr-x2"])
    def test_without_a_card(self, exports, tmp_path, task):
        """Such as a network of another program, of which nobody knows what it wants."""
        import onnx

        proto = onnx.load(exports["onnx"][1])
        del proto.metadata_props[:]
        (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
        content = exports["tflite"][1].read_bytes()
        assert content.count(b"rnan_tf") == 1
        (tmp_path / "a.tflite").write_bytes(content.replace(b"rnan_tf", b"another"))
        for name in ("a.onnx", "a.tflite"):
            with pytest.raises(InputError, match=rf"{name}: does not say what it is for; export it again"):
                open_runtime(tmp_path / name, task)

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"tile": "wide"}, "its tile 'wide' is not a number of pixels"),
            ({"tile": 0}, "its tile 0 is not a number of pixels"),
            ({"overlap": -3}, "its overlap -3 is not a number of pixels"),
            ({"details": 7}, "its details 7 have no names"),
            ({"conditional": True}, "takes image .*, which its card does not say"),
            (
                {"task": "denoise-gray", "channels": 1, "scale": 1, "strengths": None},
                "takes image .*, which its card does not say",
            ),
            ({"task": "sr-x4", "scale": 4}, "makes .*, not .*; export it again"),
        ],
        ids=str,
    )
    def test_a_card_that_does_not_fit_the_file(self, exports, tmp_path, change, message):
        import onnx

        proto = onnx.load(exports["onnx"][1])
        (entry,) = proto.metadata_props
        entry.value = json.dumps({**json.loads(entry.value), **change})
        (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(InputError, match=rf"a\.onnx: {message}"):
            open_runtime(tmp_path / "a.onnx").run(batch_of(1, TILE, TILE, 3))

    def test_a_tile_that_the_card_does_not_say_is_read_off_the_file(self, exports, tmp_path):
        content, told = exports["tflite"][1].read_bytes(), b'"tile": %d,' % TILE
        assert content.count(told) == 1
        (tmp_path / "a.tflite").write_bytes(content.replace(told, told.replace(b"tile", b"none")))
        assert open_runtime(tmp_path / "a.tflite").card.tile == TILE
        (tmp_path / "a.tflite").write_bytes(content.replace(told, b'"tile": %d,' % (TILE + 1)))
        with pytest.raises(InputError, match=r"a\.tflite: takes images of .*, not square tiles of its card's size"):
            open_runtime(tmp_path / "a.tflite")


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
