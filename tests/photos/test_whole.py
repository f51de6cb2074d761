"""rnan_tf.photos.whole on files that others wrote, whole and cut short."""

import numpy as np
import pytest
from PIL import Image, features

from rnan_tf.photos.photo import write_photo
from rnan_tf.photos.whole import is_whole
from tests.helpers.image_samples import RGB8, RGB16, save

KINDS = ["png", "jpg", "tif", "bmp", "webp"] + (["avif"] if features.check("avif") else [])


@pytest.mark.parametrize("writer", ["Pillow", "ours"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_and_cut(tmp_path, kind, writer):
    path = tmp_path / f"a.{kind}"
    save(path, RGB8) if writer == "Pillow" else write_photo(path, RGB8)
    assert is_whole(path)
    data = path.read_bytes()
    # A TIFF file's directory may be at its end or at its beginning.
    for size in (0, 1, 10, 70, len(data) // 2, len(data) - 400, len(data) - 30):
        path.write_bytes(data[:size])
        assert not is_whole(path)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_16_bits(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    write_photo(path, RGB16)
    assert is_whole(path)


def test_no_image(tmp_path):
    for name, data in (("text", b"text"), ("zeros", bytes(5000))):
        (tmp_path / name).write_bytes(data)
        assert not is_whole(tmp_path / name)
    assert not is_whole(tmp_path / "missing") and not is_whole(tmp_path)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)).save(path)
    monkeypatch.setattr("PIL.Image.Image.load", lambda *_: pytest.fail("decoded"))
    assert is_whole(path)
