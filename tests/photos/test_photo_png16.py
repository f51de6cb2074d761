"""16-bit PNG of every kind that the format has, without TensorFlow."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from rnan_tf.photos.photo import Photo, read_photo, write_photo
from tests.helpers.image_samples import ALPHA16, GRAY16, RGB16, assert_image_error, assert_same, png_chunk

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
KINDS = {0: GRAY16, 4: np.dstack([GRAY16, ALPHA16]), 2: RGB16, 6: np.dstack([RGB16, ALPHA16])}  # by PNG's colour type


def png16(array, colour_type, interlaced=False, *chunks):
    """A file from the specification's own words: filter 0 in front of each row of each pass, big-endian."""
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [array[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, colour_type, 0, 0, interlaced)
    body = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour_type", KINDS)
def test_reads_every_kind(tmp_path, colour_type, interlaced):
    array = KINDS[colour_type]
    (tmp_path / "a.png").write_bytes(png16(array, colour_type, interlaced))
    colours = [array[..., :-1], array[..., -1]] if colour_type in (4, 6) else [array]
    assert_same(read_photo(tmp_path / "a.png"), *colours)


def test_gamma_and_significant_bits_change_nothing(tmp_path):
    chunks = png_chunk(b"gAMA", struct.pack(">I", 45455)), png_chunk(b"sBIT", bytes([12] * 3))
    (tmp_path / "a.png").write_bytes(png16(RGB16, 2, False, *chunks))
    assert_same(read_photo(tmp_path / "a.png"), RGB16)


def test_writes_a_view(tmp_path):
    view = RGB16[::-1, ::2]
    write_photo(tmp_path / "a.png", Photo(view, None, None, "PNG"))
    assert_same(read_photo(tmp_path / "a.png"), view)


def test_a_side_beyond_libpng_is_one_line(tmp_path):
    photo = Photo(np.zeros((1_000_001, 1, 1), np.uint16), None, None, "PNG")
    assert_image_error(lambda: write_photo(tmp_path / "a.png", photo), "a.png: cannot be encoded", ".tif")
    assert list(tmp_path.iterdir()) == []


def test_needs_no_tensorflow_and_says_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(RGB16, 2, True, png_chunk(b"eXIf", b"no exif")))
    code = (
        f"import sys; sys.path[:] = {sys.path}\n"
        "from rnan_tf.photos.photo import read_photo, write_photo\n"
        "write_photo('b.png', read_photo('a.png'))\n"
        "assert read_photo('b.png').pixels.dtype == 'uint16'\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(read_photo(tmp_path / "b.png"), RGB16)
