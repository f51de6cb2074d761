"""rnan_tf.photos.photo reading files that Pillow, tifffile and tf.io wrote."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from rnan_tf.photos.photo import read_photo
from tests.helpers.image_samples import (
    ALPHA8,
    ALPHA16,
    GRAY8,
    GRAY16,
    RGB8,
    RGB16,
    SRGB,
    assert_same,
    png_chunk,
    save,
    tf_png16,
)


def orientation_exif(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("extension", ["png", "tif", "bmp", "webp"])
def test_reads_lossless_8_bit_rgb(tmp_path, extension):
    options = {"lossless": True} if extension == "webp" else {}
    photo = read_photo(save(tmp_path / f"a.{extension}", RGB8, **options))
    assert_same(photo, RGB8)
    assert photo.format == {"tif": "TIFF"}.get(extension, extension.upper())


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_reads_8_bit_gray(tmp_path, extension):
    assert_same(read_photo(save(tmp_path / f"a.{extension}", GRAY8)), GRAY8)


@pytest.mark.parametrize("array", [RGB8, GRAY8], ids=["rgb", "gray"])
def test_reads_jpeg_as_pillow_does(tmp_path, array):
    path = save(tmp_path / "a.jpg", array)
    photo = read_photo(path)
    with Image.open(path) as oracle:
        assert_same(photo, np.asarray(oracle))
    assert photo.format == "JPEG"


@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
def test_reads_8_bit_alpha(tmp_path, extension):
    options = {"lossless": True, "exact": True} if extension == "webp" else {}
    path = save(tmp_path / f"a.{extension}", np.dstack([RGB8, ALPHA8]), **options)
    assert_same(read_photo(path), RGB8, ALPHA8)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_reads_8_bit_gray_alpha(tmp_path, extension):
    assert_same(read_photo(save(tmp_path / f"a.{extension}", np.dstack([GRAY8, ALPHA8]))), GRAY8, ALPHA8)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_reads_png_transparency_chunk_as_alpha(tmp_path, mode):
    image = Image.fromarray(RGB8).convert(mode)
    path = save(tmp_path / "a.png", image, transparency=image.getpixel((30, 30)))
    photo = read_photo(path)
    with Image.open(path) as oracle:
        rgba = np.asarray(oracle.convert("RGBA"))
    assert photo.pixels.shape[-1] == (1 if mode == "L" else 3)
    assert_same(photo, rgba[..., : photo.pixels.shape[-1]], rgba[..., 3])
    assert photo.alpha.min() == 0


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_expands_palettes_and_bits(tmp_path, extension):
    palette, bits = Image.fromarray(RGB8).convert("P"), Image.fromarray(GRAY8).convert("1")
    assert_same(read_photo(save(tmp_path / f"p.{extension}", palette)), np.asarray(palette.convert("RGB")))
    photo = read_photo(save(tmp_path / f"b.{extension}", bits))
    assert_same(photo, np.asarray(bits.convert("L")))
    assert set(np.unique(photo.pixels)) == {0, 255}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reads_16_bit_png_exactly(tmp_path, channels):
    array = np.dstack([(RGB16 if channels > 2 else GRAY16), ALPHA16])[..., :channels]
    path = tmp_path / "a.png"
    path.write_bytes(tf_png16(array))
    assert_same(read_photo(path), *([array] if channels in (1, 3) else [array[..., :-1], array[..., -1]]))


@pytest.mark.parametrize("array", [RGB16, GRAY16[..., None]], ids=["rgb", "gray"])
def test_reads_16_bit_png_transparency_chunk(tmp_path, array):
    data, key = tf_png16(array), array[0, 0].tolist()
    path = tmp_path / "a.png"
    path.write_bytes(data[:33] + png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) + data[33:])
    assert_same(read_photo(path), array, np.where((array == array[0, 0]).all(-1), 0, 65535).astype(np.uint16))


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_reads_16_bit_colour_tiff(tmp_path, byteorder, compression, planarconfig):
    array = np.dstack([RGB16, ALPHA16])
    stored = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if planarconfig == "separate" else array
    options = {"byteorder": byteorder, "compression": compression, "planarconfig": planarconfig}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"], **options)
    assert_same(read_photo(tmp_path / "a.tif"), RGB16, ALPHA16)


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), ("<", True)])
def test_reads_16_bit_gray_tiff(tmp_path, byteorder, bigtiff):
    tifffile.imwrite(tmp_path / "a.tif", GRAY16, photometric="minisblack", byteorder=byteorder, bigtiff=bigtiff)
    assert_same(read_photo(tmp_path / "a.tif"), GRAY16)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_reads_libtiff_compressions(tmp_path, compression):
    assert_same(read_photo(save(tmp_path / "a.tif", Image.fromarray(GRAY16), compression=compression)), GRAY16)
    assert_same(read_photo(save(tmp_path / "b.tif", RGB8, compression=compression)), RGB8)


@pytest.mark.parametrize("array", [GRAY8, GRAY16], ids=["8", "16"])
def test_inverts_white_is_zero_tiff(tmp_path, array):
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(array.dtype).max - array, photometric="miniswhite")
    assert_same(read_photo(tmp_path / "a.tif"), array)


def test_divides_premultiplied_16_bit_tiff(tmp_path):
    alpha = np.maximum(ALPHA16, 32768)
    premultiplied = np.rint(RGB16 * (alpha[..., None] / 65535)).astype(np.uint16)
    stored = np.dstack([premultiplied, alpha])
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(tmp_path / "a.tif")
    assert np.abs(photo.pixels.astype(int) - RGB16).max() <= 1
    np.testing.assert_array_equal(photo.alpha, alpha)


def test_drops_an_unspecified_tiff_channel(tmp_path):
    stored = np.dstack([RGB16, ALPHA16])
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unspecified"])
    assert_same(read_photo(tmp_path / "a.tif"), RGB16)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png8", "png16", "jpg", "webp", "tif8", "tif16", "tif16gray"])
def test_applies_exif_orientation(tmp_path, kind, orientation):
    image, path = Image.fromarray(RGB8), tmp_path / f"a.{'webp' if kind == 'webp' else kind[:3]}"
    exif = orientation_exif(orientation)
    array = RGB8
    if kind == "png16":
        array, data = RGB16, tf_png16(RGB16)
        # before IEND, where the specification allows it too
        path.write_bytes(data[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[-12:])
    elif kind.startswith("tif16"):
        array = GRAY16 if "gray" in kind else RGB16
        tags = [(0x0112, "H", 1, orientation, True)]
        tifffile.imwrite(path, array, photometric="minisblack" if "gray" in kind else "rgb", extratags=tags)
    else:
        save(path, image, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    if kind == "jpg":
        with Image.open(path) as stored:
            array = np.asarray(stored)
    # the oracle is Pillow's own turn, band by band since it has no 16-bit colour
    bands = []
    for band in array.reshape(*array.shape[:2], -1).transpose(2, 0, 1):
        turned = Image.fromarray(band)
        turned.getexif()[0x0112] = orientation
        bands.append(np.asarray(ImageOps.exif_transpose(turned)))
    assert_same(read_photo(path), np.dstack(bands))


def test_turns_alpha_with_the_pixels(tmp_path):
    path = save(tmp_path / "a.png", np.dstack([RGB8, ALPHA8]), exif=orientation_exif(6))
    assert_same(read_photo(path), np.rot90(RGB8, -1), np.rot90(ALPHA8, -1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_obstacle(tmp_path):
    assert read_photo(save(tmp_path / "a.jpg", RGB8, exif=b"Exif\0\0MM\0*\0\0\xff\xff")).pixels.shape == RGB8.shape
    data = tf_png16(RGB16)
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(b"eXIf", b"no exif") + data[33:])
    assert_same(read_photo(tmp_path / "a.png"), RGB16)


def test_reads_the_photo_of_a_multi_picture_jpeg(tmp_path):
    path = tmp_path / "phone.jpg"
    gain_map = Image.fromarray(GRAY8[::2, ::2])
    Image.fromarray(RGB8).save(path, "MPO", save_all=True, append_images=[gain_map], quality=95)
    with Image.open(path) as oracle:
        assert oracle.format == "MPO"
        assert_same(read_photo(path), np.asarray(oracle))
    assert read_photo(path).format == "JPEG"


def test_the_content_tells_the_format(tmp_path):
    path = tmp_path / "really_a.jpg"
    save(path, RGB8, format="PNG")
    assert read_photo(path).format == "PNG"


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp"])
def test_reads_icc_profile(tmp_path, extension):
    assert read_photo(save(tmp_path / f"a.{extension}", RGB8, icc_profile=SRGB)).icc_profile == SRGB
    assert read_photo(save(tmp_path / f"b.{extension}", RGB8)).icc_profile is None


def test_16_bit_png_is_decoded_once(tmp_path, monkeypatch):
    def fail(_):
        raise AssertionError("Pillow decoded it too")

    (tmp_path / "a.png").write_bytes(tf_png16(RGB16))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    assert_same(read_photo(tmp_path / "a.png"), RGB16)
