"""What is no network, or none that its card describes, is refused in a line."""

import json

import pytest

from rnan_tf.errors import InputError
from rnan_tf.restoring.runtimes import open_runtime
from tests.restoring.runtimes.conftest import TILE, batch_of

files = pytest.mark.parametrize("kind", ["tflite", "onnx"])


@pytest.mark.parametrize("name", ["none.tflite", "none.onnx", "none.keras", "none"])
def test_missing(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: no such model"):
        open_runtime(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pb", "model.h5", "photo.png"])
def test_another_kind(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{name}: not a .keras file"):
        open_runtime(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 20, 5000])
@files
def test_damaged(exports, tmp_path, kind, keep):
    path = tmp_path / f"bad.{kind}"
    path.write_bytes(exports[kind][1].read_bytes()[:keep])
    with pytest.raises(InputError) as info:
        open_runtime(path)
    assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)


@files
def test_not_a_model(tmp_path, kind):
    path = tmp_path / f"bad.{kind}"
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(InputError, match="cannot be loaded"):
        open_runtime(path)


@pytest.mark.parametrize("task", [None, "sr-x2"])
def test_without_a_card(exports, tmp_path, task):
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
def test_a_card_that_does_not_fit_the_file(exports, tmp_path, change, message):
    import onnx

    proto = onnx.load(exports["onnx"][1])
    (entry,) = proto.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), **change})
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=rf"a\.onnx: {message}"):
        open_runtime(tmp_path / "a.onnx").run(batch_of(1, TILE, TILE, 3))


def test_a_tile_that_the_card_does_not_say_is_read_off_the_file(exports, tmp_path):
    content, told = exports["tflite"][1].read_bytes(), b'"tile": %d,' % TILE
    assert content.count(told) == 1
    (tmp_path / "a.tflite").write_bytes(content.replace(told, told.replace(b"tile", b"none")))
    assert open_runtime(tmp_path / "a.tflite").card.tile == TILE
    (tmp_path / "a.tflite").write_bytes(content.replace(told, b'"tile": %d,' % (TILE + 1)))
    with pytest.raises(InputError, match=r"a\.tflite: takes images of .*, not square tiles of its card's size"):
        open_runtime(tmp_path / "a.tflite")
