"""photos.photo given files that are cut short, damaged, too large or of another kind: one line that says why."""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from rnan_tf.photos.photo import ImageError, read_photo
from tests.helpers.image_samples import GRAY8, RGB8, RGB16, assert_image_error, assert_same, png_chunk, save, tf_png16


def test_reading_what_is_no_image(tmp_path):
    missing, text, empty = tmp_path / "missing.png", tmp_path / "text.png", tmp_path / "empty.png"
    text.write_text("hello")
    empty.write_bytes(b"")
    assert_image_error(lambda: read_photo(missing), missing, "no such file")
    assert_image_error(lambda: read_photo(tmp_path), tmp_path, "folder")
    assert_image_error(lambda: read_photo(text), text, "is not a PNG, JPEG")
    assert_image_error(lambda: read_photo(empty), empty, "empty")
    assert_image_error(lambda: read_photo(text / "a.png"), text / "a.png", "cannot be read")


def encoded(extension, depth=8):
    buffer = io.BytesIO()
    if extension == "tif":
        tifffile.imwrite(buffer, RGB16 if depth == 16 else RGB8, photometric="rgb", compression="zlib")
    elif extension == "lzw.tif":
        tifffile.imwrite(buffer, RGB16, photometric="rgb", compression="lzw")
    elif depth == 16:
        buffer.write(tf_png16(RGB16))
    else:
        Image.fromarray(RGB8[:, :72]).save(
            buffer, {"jpg": "JPEG"}.get(extension, extension)
        )  # BMP pads rows to 4 bytes
    return buffer.getvalue()


CODECS = [("png", 8), ("png", 16), ("jpg", 8), ("tif", 8), ("tif", 16), ("lzw.tif", 16), ("bmp", 8), ("webp", 8)]


@pytest.mark.parametrize(("extension", "depth"), CODECS)
def test_a_truncated_file_is_an_error_wherever_it_ends(tmp_path, extension, depth):
    data, path = encoded(extension, depth), tmp_path / f"a.{extension}"
    for end in [16, 40, len(data) // 3, *(len(data) - missing for missing in (200, 20, 13, 12, 4, 1))]:
        path.write_bytes(data[:end])
        assert_image_error(lambda: read_photo(path), path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("extension", "depth"), CODECS)
def test_damaged_bytes_give_an_image_or_an_image_error(tmp_path, extension, depth):
    data, path, random = encoded(extension, depth), tmp_path / f"a.{extension}", np.random.default_rng(2)
    for _ in range(60):
        damaged = bytearray(data)
        for position in random.integers(0, min(len(data), 400), 3):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_photo(path, max_pixels=1_000_000)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)


def test_refuses_cmyk(tmp_path):
    image = Image.fromarray(RGB8).convert("CMYK")
    for name in ("a.jpg", "a.tif"):
        path = save(tmp_path / name, image)
        assert_image_error(lambda path=path: read_photo(path), path, "CMYK", "convert it to RGB")


@pytest.mark.parametrize("dtype", ["float32", "uint32", "int16", "int8", "float64"])
@pytest.mark.parametrize("array", [RGB8, GRAY8], ids=["rgb", "gray"])
def test_refuses_other_sample_types(tmp_path, dtype, array):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array.astype(dtype), photometric="rgb" if array.ndim == 3 else "minisblack")
    assert_image_error(lambda: read_photo(path), path, dtype, "8 or 16 bits")


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif"])
def test_refuses_several_frames(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    frames = [Image.fromarray(RGB8), Image.fromarray(255 - RGB8)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_image_error(lambda: read_photo(path), path, "only still images", "first frame")


def test_refuses_16_bit_pages(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RGB16, RGB16]), photometric="rgb")
    assert_image_error(lambda: read_photo(tmp_path / "a.tif"), "only still images")


def test_refuses_the_thumbnail_of_a_raw_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.dng", RGB8, photometric="rgb", subfiletype=1)
    assert_image_error(lambda: read_photo(tmp_path / "a.dng"), "only still images")


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "bmp", "webp"])
def test_max_pixels_is_inclusive(tmp_path, extension):
    path, count = save(tmp_path / f"a.{extension}", RGB8), RGB8.shape[0] * RGB8.shape[1]
    assert read_photo(path, max_pixels=count).pixels.shape == RGB8.shape
    assert_image_error(lambda: read_photo(path, max_pixels=count - 1), path, "73 x 61", count - 1, "max_pixels")


@pytest.fixture
def small_memory():
    """Fail where Python and numpy took more than 20 MB at a time."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def patch_tags(path, **values):
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name, value in values.items():
            struct.pack_into("<H", data, tiff.pages[0].tags[name].valueoffset, value)
    path.write_bytes(data)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_tile_much_larger_than_the_image_is_refused(tmp_path, small_memory, depth):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), f"uint{depth}"), photometric="minisblack", tile=(256, 256))
    assert read_photo(path).pixels.shape == (16, 16, 1)
    patch_tags(path, TileLength=6000, TileWidth=6000)
    assert_image_error(lambda: read_photo(path), path, "tiles of 36000000 pixels for 16 x 16")


@pytest.mark.parametrize("compression", ["zlib", "zstd", "packbits"])
def test_a_strip_that_inflates_beyond_the_image_is_refused(tmp_path, compression, request):
    path, rows = tmp_path / "a.tif", np.zeros((2000, 6000, 3), np.uint16)
    tifffile.imwrite(path, rows, photometric="rgb", compression=compression, rowsperstrip=len(rows))
    patch_tags(path, ImageLength=16, ImageWidth=16, RowsPerStrip=16)
    request.getfixturevalue("small_memory")
    assert_image_error(lambda: read_photo(path), path, "cannot be decoded")


def test_16_bit_compressions_without_a_bound_are_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB16, photometric="rgb", compression="png")
    assert_image_error(lambda: read_photo(path), path, "compression PNG", "LZW or Deflate")


@pytest.mark.parametrize("side", [10_001, 20_000])  # below and above Pillow's own hard limit of 179 Mpixel
@pytest.mark.parametrize("depth", [8, 16])
def test_a_bomb_is_refused_from_its_header(tmp_path, side, depth):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0))
    idat = png_chunk(b"IDAT", zlib.compress(b"not decoded"))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + idat + png_chunk(b"IEND", b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_image_error(lambda: read_photo(path), path, f"{side} x {side}", 100_000_000)


def test_a_webp_bomb_is_refused(tmp_path):
    side = (16_384 - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    path = tmp_path / "bomb.webp"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert_image_error(lambda: read_photo(path), path)


def test_pillows_global_limit_plays_no_part(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(read_photo(path), RGB8)
