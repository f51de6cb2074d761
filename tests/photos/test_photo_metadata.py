"""What stands beside the pixels, too large or broken, does not keep a photograph from being read."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from rnan_tf.photos.photo import Photo, read_photo, write_photo
from tests.helpers.image_samples import RGB8, RGB16, SRGB, assert_image_error, assert_same, png_chunk

LARGE = np.random.default_rng(0).integers(97, 105, 3_000_000, np.uint8).tobytes()
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/>' + LARGE + b"</x:xmpmeta>"
CHUNKS = {
    "text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "xmp": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.parametrize("pixels", [RGB8, RGB16], ids=["8", "16"])
def test_reads_png_with_large_text(tmp_path, pixels, kind, after):
    path = tmp_path / "a.png"
    write_photo(path, Photo(pixels, None, None, "PNG"))
    data = path.read_bytes()
    place = len(data) - 12 if after else 33
    path.write_bytes(data[:place] + CHUNKS[kind] + data[place:])
    turned = kind == "xmp" and not (after and pixels.dtype == np.uint16)  # there Pillow does not look behind the pixels
    assert_same(read_photo(path), pixels[::-1, ::-1] if turned else pixels)


@pytest.mark.parametrize("pixels", [RGB8, RGB16], ids=["8", "16"])
def test_reads_png_with_a_large_profile(tmp_path, pixels):
    profile = SRGB + LARGE
    write_photo(tmp_path / "a.png", Photo(pixels, None, profile, "PNG"))
    assert read_photo(tmp_path / "a.png").icc_profile == profile


def test_text_that_inflates_without_end_is_one_line(tmp_path):
    path = tmp_path / "a.png"
    write_photo(path, Photo(RGB8, None, None, "PNG"))
    data = path.read_bytes()
    path.write_bytes(data[:33] + png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000))) + data[33:])
    assert_image_error(lambda: read_photo(path), path, "MAX_TEXT_CHUNK")


def test_broken_exif_says_nothing(tmp_path):
    tags = b"".join(struct.pack("<HHII", 1000 + n, 2, 100_000, 0xFFFFFF00 - n) for n in range(3000))
    exif = b"II*\0" + struct.pack("<IH", 8, 3000) + tags + bytes(4)
    for name in ("a.jpg", "a.png", "a.webp"):
        Image.fromarray(RGB8).save(tmp_path / name, exif=b"Exif\0\0" + exif)
    write_photo(tmp_path / "deep.png", Photo(RGB16, None, None, "PNG"))
    data = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(data[:33] + png_chunk(b"eXIf", exif) + data[33:])
    code = (
        f"import sys; sys.path[:] = {sys.path}\n"
        "from rnan_tf.photos.finding import list_images; from rnan_tf.photos.photo import read_photo\n"
        f"print(sum(read_photo(path).pixels.shape == {RGB8.shape} for path in list_images(['.'])))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
