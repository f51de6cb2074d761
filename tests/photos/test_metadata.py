"""EXIF, XMP, resolution and ICC profile on their way from one file into another, as Pillow reads them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from rnan_tf.photos.metadata import MAX_BYTES
from rnan_tf.photos.photo import Photo, read_photo, write_photo
from tests.helpers.image_samples import RGB8, RGB16, SRGB, assert_same

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'tiff:Orientation="6" xmp:Rating="5"><xmp:Thumbnails>SMALL</xmp:Thumbnails>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
MAKER_NOTE = b"what only the camera's maker knows"
KINDS = ("png", "jpg", "tif", "webp")
WIDTH, HEIGHT = RGB8.shape[1], RGB8.shape[0]


def some_exif():
    exif = Image.Exif()
    exif[0x010F], exif[0x8298], exif[0x0112] = "Maker", "Author", 6
    exif[0x8769] = {0x829A: 0.004, 0x9003: "2024:01:02 03:04:05", 0x927C: MAKER_NOTE, 0xA002: WIDTH, 0xA003: HEIGHT}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 30.5)}
    return exif


def with_everything(path):
    """A file with all of it, lying on its side, made by Pillow."""
    kind, exif = path.suffix[1:], some_exif()
    options = {"icc_profile": SRGB, "exif": exif}
    if kind == "png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif kind == "tif":
        exif[700] = XMP
        options["tiffinfo"] = ImageFileDirectory_v2()
    else:
        options["xmp"] = XMP
    if kind in ("png", "jpg"):
        options["dpi"] = (300, 150)
    else:
        exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 150.0, 2
    if kind == "tif":  # Pillow writes an Exif object's further directories into all files but TIFF
        for tag in exif:
            options["tiffinfo"][tag] = exif[tag]
        del options["exif"]
    Image.fromarray(RGB8).save(path, **options)
    return path


def check_everything(path, size=(HEIGHT, WIDTH)):
    with Image.open(path) as image:
        image.load()
        tags = image.getexif()
        camera, place = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
        dpi = image.info.get("dpi") or (tags[0x011A], tags[0x011B])
        xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
        xmp = xmp.encode() if isinstance(xmp, str) else xmp
        assert image.size == size and tags.get(0x0112, 1) == 1
        assert (tags[0x010F], tags[0x8298]) == ("Maker", "Author")
        assert (float(camera[0x829A]), camera[0x9003]) == (0.004, "2024:01:02 03:04:05")
        assert (camera[0x927C], camera[0xA002], camera[0xA003]) == (MAKER_NOTE, *size)
        assert place[2] == (48.0, 8.0, 30.5)
        assert tuple(map(float, dpi)) == pytest.approx((300, 150), abs=0.02)
        assert b'xmp:Rating="5"' in xmp and b'tiff:Orientation="1"' in xmp and b"SMALL" not in xmp
        assert image.info["icc_profile"] == SRGB


@pytest.mark.parametrize("target", [*KINDS, "avif"])
@pytest.mark.parametrize("source", KINDS)
def test_all_of_it_survives_in_every_direction(tmp_path, source, target):
    path = with_everything(tmp_path / f"a.{source}")
    write_photo(tmp_path / f"b.{target}", read_photo(path))
    check_everything(tmp_path / f"b.{target}")


@pytest.mark.parametrize("target", ["png", "tif"])
@pytest.mark.parametrize("source", ["png", "tif"])
def test_it_survives_in_16_bits(tmp_path, source, target):
    metadata = read_photo(with_everything(tmp_path / "small.jpg")).metadata
    write_photo(tmp_path / f"a.{source}", Photo(np.rot90(RGB16, -1), None, SRGB, "PNG", metadata))
    write_photo(tmp_path / f"b.{target}", read_photo(tmp_path / f"a.{source}"))
    check_everything(tmp_path / f"b.{target}")
    assert_same(read_photo(tmp_path / f"b.{target}"), np.rot90(RGB16, -1))


def test_the_size_that_exif_says_is_the_image_s(tmp_path):
    photo = read_photo(with_everything(tmp_path / "a.jpg"))
    large = Photo(photo.pixels.repeat(2, 0).repeat(2, 1), None, SRGB, "PNG", photo.metadata)
    write_photo(tmp_path / "b.png", large)
    check_everything(tmp_path / "b.png", (2 * HEIGHT, 2 * WIDTH))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tags", [(0x0201, 0x0202), (0x0111, 0x0117)], ids=["jpeg", "uncompressed"])
def test_the_thumbnail_is_erased_and_maker_notes_stay_in_their_place(tmp_path, order, tags):
    """The thumbnail shows the photograph before it was turned, or what was cropped away."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    first = struct.pack(order + "HHHIHHHHIII", 2, 0x0112, 3, 1, 6, 0, 0x927C, 7, len(MAKER_NOTE), 100, 150)
    second = struct.pack(order + "HHHIIHHIII", 2, tags[0], 4, 1, 200, tags[1], 4, 1, 9, 0)
    block = (start + struct.pack(order + "I", 8) + first).ljust(100, b"\0") + MAKER_NOTE
    block = (block.ljust(150, b"\0") + second).ljust(200, b"\0") + b"THUMBNAIL"
    Image.fromarray(RGB8).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    write_photo(tmp_path / "b.jpg", read_photo(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as image:
        kept = image.info["exif"].removeprefix(b"Exif\0\0")
        assert image.getexif()[0x0112] == 1 and not image.getexif().get_ifd(1)
    assert b"THUMBNAIL" not in kept and kept[100 : 100 + len(MAKER_NOTE)] == MAKER_NOTE


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_ten_megabytes_are_left_out_with_a_line(tmp_path, kind):
    xmp = XMP.replace(b"SMALL</xmp:Thumbnails>", b"</xmp:Thumbnails>" + b" " * 10_000_000)
    options = {"xmp": xmp}
    if kind == "png":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif kind == "tif":
        options = {"exif": Image.Exif()}
        options["exif"][700] = xmp
    Image.fromarray(RGB8).save(tmp_path / f"a.{kind}", **options)
    photo = read_photo(tmp_path / f"a.{kind}")
    assert photo.metadata.xmp is None
    (line,) = photo.metadata.fitting("PNG")[1]
    assert line == f"{len(xmp) / 1000:,.0f} kB of XMP data left out, over the limit of {MAX_BYTES / 1e6:.0f} MB"


def test_what_jpeg_cannot_hold_is_left_out_with_a_line(tmp_path):
    photo = read_photo(with_everything(tmp_path / "a.png"))
    large = Photo(RGB8, None, None, "PNG", type(photo.metadata)(photo.metadata.exif, XMP + b" " * 70_000))
    kept, lost = large.metadata.fitting("JPEG")
    assert kept.xmp is None and kept.exif == photo.metadata.exif
    assert lost == ("70 kB of XMP data left out, which JPEG cannot hold",)
    write_photo(tmp_path / "b.jpg", large)
    with Image.open(tmp_path / "b.jpg") as image:
        assert "xmp" not in image.info and image.getexif()[0x010F] == "Maker"
    assert large.metadata.fitting("PNG") == (large.metadata, ())
    assert len(large.metadata.fitting("BMP")[1]) == 2


def test_broken_exif_is_left_out(tmp_path):
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0", b"Exif\0\0nothing", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        Image.fromarray(RGB8).save(tmp_path / "a.jpg", exif=exif)
        photo = read_photo(tmp_path / "a.jpg")
        assert photo.metadata.exif is None
        for kind in KINDS:
            write_photo(tmp_path / f"b.{kind}", photo)


def test_heic_is_read_upright(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = pillow_heif.from_pillow(Image.fromarray(RGB8))
    image.save(tmp_path / "a.heic", quality=100, exif=some_exif().tobytes(), chroma=444)
    photo = read_photo(tmp_path / "a.heic")
    assert photo.format == "HEIF"
    assert photo.pixels.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(photo.pixels.astype(int) - np.rot90(RGB8, -1)).mean() < 3
    write_photo(tmp_path / "b.jpg", photo)
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.getexif()[0x010F] == "Maker" and written.getexif().get(0x0112, 1) == 1


def test_heic_without_its_package_is_one_line(tmp_path, monkeypatch):
    from rnan_tf import extras

    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(50))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"a\.heic: .*pillow_heif not installed: pip install 'rnan-tf\[heif\]'"):
        read_photo(tmp_path / "a.heic")


def test_avif_is_read_and_written(tmp_path):
    write_photo(tmp_path / "a.avif", RGB8)
    photo = read_photo(tmp_path / "a.avif")
    assert photo.format == "AVIF" and np.abs(photo.pixels.astype(int) - RGB8).mean() < 3
    buffer = io.BytesIO()
    Image.fromarray(RGB8).save(buffer, "AVIF")
    assert (tmp_path / "a.avif").read_bytes()[4:12] == buffer.getvalue()[4:12]
