"""rnan_tf.restoring.runtimes: exported models as predictors, and tiles of one size only."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from rnan_tf.restoring.loading import trained_task

from rnan_tf import RNAN
from rnan_tf.cli import main
from rnan_tf.errors import InputError
from rnan_tf.export import onnx as export_onnx
from rnan_tf.export.tflite import exporting as export_tflite
from rnan_tf.restoring.runtimes import load_artifact, make_metadata
from rnan_tf.restoring.tiling import Tiling, model_predictor, restore, self_ensemble
from rnan_tf.tasks.task import TASKS

TILE, OVERLAP = 20, 4
KINDS = {"tflite": ("denoise", {"conditional": True}), "onnx": ("sr", {"scale": 2})}


def random_model(**kwargs):
    model = RNAN(filters=8, num_blocks=2, space_to_depth=2, **kwargs)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(4 * fan_in))
    return model


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """{"tflite", "onnx": (network, its export)}: a conditional denoiser and a super-resolution network."""
    folder, result = tmp_path_factory.mktemp("exports"), {}
    for kind, (task, arguments) in KINDS.items():
        model, path = random_model(**arguments), folder / f"model.{kind}"
        if kind == "tflite":
            metadata = make_metadata(model, TASKS[task], (0, 75), Tiling(TILE, OVERLAP))
            path.write_bytes(export_tflite.add_metadata(export_tflite.convert(model, TILE), metadata))
        else:
            proto = export_onnx.convert(model, make_metadata(model, TASKS[task], (2, 2)))
            path.write_bytes(proto.SerializeToString())
        result[kind] = model, path
    return result


@pytest.fixture(params=KINDS)
def export(request, exports):
    return exports[request.param]


def batch_of(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_predictions_are_kerass(export):
    model, path = export
    artifact, batch = load_artifact(path, level=25), batch_of(3, TILE, TILE, 3)
    expected = model_predictor(model, 25 / 255)(batch)
    assert np.abs(artifact.predict(batch) - expected).max() < 1e-5
    assert np.abs(artifact.predictor(25 / 255)(batch) - expected).max() < 1e-5


def test_a_conditional_model_takes_the_level(exports):
    batch = batch_of(1, TILE, TILE, 3)
    artifact = load_artifact(exports["tflite"][1], level=50)
    assert np.array_equal(artifact.predict(batch), artifact.predictor(50 / 255)(batch))
    assert np.abs(artifact.predict(batch) - artifact.predictor(0)(batch)).max() > 1e-3


@pytest.mark.parametrize("height, width", [(1, 1), (3, 16), (11, 14)])
def test_smaller_tiles_are_reflected_and_cropped(exports, height, width):
    model, path = exports["tflite"]
    batch = batch_of(2, height, width, 3)
    padded = np.pad(batch, ((0, 0), (0, TILE - height), (0, TILE - width), (0, 0)), mode="reflect")
    expected = model_predictor(model, 0.1)(padded)[:, :height, :width]
    assert np.abs(load_artifact(path).predictor(0.1)(batch) - expected).max() < 1e-5


def test_larger_tiles_are_refused(exports):
    with pytest.raises(InputError, match=r"model.tflite: takes tiles of up to 20x20, not 16x24$"):
        load_artifact(exports["tflite"][1]).predict(batch_of(1, 16, 24, 3))


def test_what_it_says_of_itself(exports):
    artifact = load_artifact(exports["tflite"][1])
    assert artifact.metadata == {
        "task": "denoise",
        "level": [0, 75],
        "scale": 1,
        "channels": 3,
        "conditional": True,
        "value_range": [0, 1],
        "tile": TILE,
        "overlap": OVERLAP,
    }
    assert artifact.tiling() == Tiling(TILE, OVERLAP, fixed=True)
    assert trained_task(artifact, "model.tflite") == (TASKS["denoise"], (0, 75))
    artifact = load_artifact(exports["onnx"][1])
    assert artifact.tiling() is None and artifact.metadata["tile"] is None
    assert trained_task(artifact, "model.onnx") == (TASKS["sr"], (2, 2))
    with pytest.raises(InputError, match="trained for task sr, not jpeg"):
        trained_task(artifact, "model.onnx", "jpeg")


def test_operators(exports):
    assert load_artifact(exports["tflite"][1]).operators()["CONV_2D"] > 40
    operators = load_artifact(exports["onnx"][1]).operators()
    assert operators["Conv"] > 40 and operators["Loop"] == 2 and operators["MatMul"] == 4  # the loops' bodies too
    assert list(operators.values()) == sorted(operators.values(), reverse=True)


def test_a_whole_photograph(exports):
    model, path = exports["tflite"]
    pixels = np.random.default_rng(0).integers(0, 256, (29, 43, 3), dtype=np.uint8)
    artifact = load_artifact(path, level=25)
    expected = restore(model_predictor(model, 25 / 255), pixels, 1, artifact.tiling()).astype(int)
    assert np.abs(restore(artifact.predict, pixels, 1, artifact.tiling()) - expected).max() <= 1


def test_a_margin_leaves_room_for_added_rows(exports):
    """The self-ensemble of a mosaic puts a row and a column around each tile."""
    artifact = load_artifact(exports["tflite"][1])
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    seen = []

    def predict(batch):
        seen.append(batch.shape[1:3])
        return artifact.predict(batch)

    tiling = artifact.tiling(margin=True)
    assert restore(self_ensemble(predict, is_mosaic=True), pixels, 1, tiling).shape == pixels.shape
    assert max(max(shape) for shape in seen) == TILE - 4 + 1


class TestCommandLine:
    def test_restore(self, export, tmp_path):
        """`rnan-tf restore` with an export gives what it gives with the network."""
        model, path = export
        pixels = np.random.default_rng(0).integers(0, 256, (21, 43, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        fixed = load_artifact(path).tiling()
        tile = () if fixed else ("--tile", "16", "--overlap", "4")
        level = ("--level", "25") if model.conditional else ()
        out = tmp_path / "out.png"
        assert main(["restore", str(tmp_path / "photo.png"), "-o", str(out), "--model", str(path), *tile, *level]) == 0
        tiling = fixed or Tiling(16, 4)
        expected = restore(model_predictor(model, 25 / 255), pixels, model.scale, tiling)
        assert np.abs(np.asarray(Image.open(out)).astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("option", ["--tile", "--overlap"])
    def test_a_fixed_tile_cannot_be_changed(self, exports, tmp_path, capsys, option):
        Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
        path = str(exports["tflite"][1])
        assert main(["restore", str(tmp_path / "photo.png"), "-o", "out.png", "--model", path, option, "32"]) == 2
        assert "leave --tile and --overlap out" in capsys.readouterr().err

    def test_evaluate_and_self_ensemble(self, exports, tmp_path, capsys):
        pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        arguments = [
            "--task",
            "denoise",
            "--level",
            "25",
            "--data",
            str(tmp_path),
            "--model",
            str(exports["tflite"][1]),
        ]
        assert main(["evaluate", *arguments, "--self-ensemble"]) == 0
        assert "dB" in capsys.readouterr().out

    def test_wrong_level_and_damage(self, exports, tmp_path, capsys):
        Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
        restore_it = ["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png"), "--model"]
        assert main([*restore_it, str(exports["tflite"][1]), "--level", "80"]) == 2
        (tmp_path / "bad.onnx").write_bytes(b"nothing")
        assert main([*restore_it, str(tmp_path / "bad.onnx")]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 2 and "80" in errors[0] and "bad.onnx: cannot be loaded" in errors[1]


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (17, 33), (61, 90)])
@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_fixed_tiles_have_exactly_the_tiles_size(size, overlap):
    pixels = np.random.default_rng(0).integers(0, 2**16, (*size, 3), dtype=np.uint16)

    def predict(batch):
        assert batch.shape == (1, 16, 16, 3)
        return batch

    assert np.array_equal(restore(predict, pixels, 1, Tiling(16, overlap, fixed=True)), pixels)


def test_fixed_tiles_enlarge(exports):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 5, 3), dtype=np.uint8)
    restored = restore(lambda batch: batch.repeat(2, 1).repeat(2, 2), pixels, 2, Tiling(16, 4, fixed=True))
    assert np.array_equal(restored, pixels.repeat(2, 0).repeat(2, 1))


class TestBadFiles:
    @pytest.mark.parametrize("name", ["none.tflite", "none.onnx"])
    def test_missing(self, tmp_path, name):
        with pytest.raises(InputError, match=f"{name}: no such model"):
            load_artifact(tmp_path / name)

    def test_another_kind(self, tmp_path):
        with pytest.raises(InputError, match=r"model.keras: not a .tflite or .onnx file"):
            load_artifact(tmp_path / "model.keras")

    @pytest.mark.parametrize("keep", [0, 20, 5000])
    def test_damaged(self, export, tmp_path, keep):
        path = tmp_path / f"bad{export[1].suffix}"
        path.write_bytes(export[1].read_bytes()[:keep])
        with pytest.raises(InputError) as info:
            load_artifact(path)
        assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)

    def test_not_a_model(self, tmp_path):
        for suffix in (".tflite", ".onnx"):
            path = tmp_path / f"bad{suffix}"
            path.write_bytes(b"PK\x03\x04" + bytes(1000))
            with pytest.raises(InputError, match="cannot be loaded"):
                load_artifact(path)

    def test_without_metadata(self, exports, tmp_path):
        import onnx

        proto = onnx.load(exports["onnx"][1])
        del proto.metadata_props[:]
        (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
        content = exports["tflite"][1].read_bytes()
        assert content.count(b"rnan_tf") == 1
        (tmp_path / "a.tflite").write_bytes(content.replace(b"rnan_tf", b"another"))
        for name in ("a.onnx", "a.tflite"):
            with pytest.raises(InputError, match=rf"{name}: does not say channels, conditional, .*export it with"):
                load_artifact(tmp_path / name)

    def test_metadata_is_json(self, exports):
        content = exports["tflite"][1].read_bytes()
        start = content.index(b'{"task"')
        assert json.loads(content[start : content.index(b"}", start) + 1])["tile"] == TILE

    @pytest.mark.parametrize(
        "kind, module, extra", [("tflite", "ai_edge_litert.interpreter", "tflite"), ("onnx", "onnxruntime", "onnx")]
    )
    def test_missing_runtime(self, exports, monkeypatch, kind, module, extra):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=rf"model.{kind}: needs .*: pip install 'rnan-tf\[{extra}\]'"):
            load_artifact(exports[kind][1])
