"""rnan_tf.photos.photo writing files: others read them, and where writing fails nothing is lost or left behind."""

import errno
import io
import os
import pathlib
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo, check_writable, read_photo, write_photo
from tests.helpers.image_samples import (
    ALPHA8,
    ALPHA16,
    GRAY8,
    GRAY16,
    GRAY_ICC,
    RGB8,
    RGB16,
    SRGB,
    assert_image_error,
    assert_same,
)


def make_photo(channels=3, depth=8, alpha=False, icc_profile=None):
    pixels = {(1, 8): GRAY8, (3, 8): RGB8, (1, 16): GRAY16, (3, 16): RGB16}[channels, depth]
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    return Photo(pixels, (ALPHA8 if depth == 8 else ALPHA16) if alpha else None, icc_profile, "PNG")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("extension", [".png", ".tif", ".TIFF"])
def test_round_trip(tmp_path, extension, depth, channels, alpha):
    photo = make_photo(channels, depth, alpha, SRGB if channels == 3 else GRAY_ICC)
    path = tmp_path / f"a{extension}"
    write_photo(path, photo)
    again = read_photo(path)
    assert_same(again, photo.pixels, photo.alpha)
    assert again.icc_profile == photo.icc_profile
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("extension", "alpha"), [("png", False), ("png", True), ("webp", False), ("webp", True), ("bmp", False)]
)
def test_others_read_what_it_writes_in_8_bits(tmp_path, extension, alpha):
    photo = make_photo(3, 8, alpha)
    write_photo(tmp_path / f"a.{extension}", photo)
    with Image.open(tmp_path / f"a.{extension}") as oracle:
        expected = np.dstack([photo.pixels, photo.alpha]) if alpha else photo.pixels
        np.testing.assert_array_equal(np.asarray(oracle), expected)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_others_read_what_it_writes_in_16_bits(tmp_path, channels, alpha):
    import tensorflow as tf

    photo = make_photo(channels, 16, alpha, SRGB if channels == 3 else GRAY_ICC)
    expected = np.dstack([photo.pixels, photo.alpha]) if alpha else photo.pixels
    write_photo(tmp_path / "a.tif", photo)
    with tifffile.TiffFile(tmp_path / "a.tif") as oracle:
        np.testing.assert_array_equal(oracle.pages[0].asarray(), expected.squeeze())
        assert oracle.pages[0].iccprofile == photo.icc_profile
        assert oracle.pages[0].extrasamples == ((2,) if alpha else ())
        assert oracle.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    write_photo(tmp_path / "a.png", photo)
    data = (tmp_path / "a.png").read_bytes()
    with Image.open(io.BytesIO(data)) as oracle:  # Pillow checks the CRC of the inserted iCCP chunk
        assert oracle.info["icc_profile"] == photo.icc_profile
    if channels == 3 or not alpha:  # tf.io cannot decode to two channels
        np.testing.assert_array_equal(tf.io.decode_png(data, dtype=tf.uint16).numpy(), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_quality_95_without_subsampling(tmp_path, channels):
    photo = make_photo(channels, 8, icc_profile=SRGB if channels == 3 else GRAY_ICC)
    write_photo(tmp_path / "a.jpg", photo)
    expected = io.BytesIO()
    Image.fromarray(photo.pixels.squeeze()).save(expected, "JPEG", quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as written, Image.open(expected) as oracle:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(oracle))
        assert written.quantization == oracle.quantization
        assert all(component[1:3] == (1, 1) for component in written.layer)
        assert written.info["icc_profile"] == photo.icc_profile


@pytest.mark.parametrize(
    ("extension", "channels", "depth", "profile"),
    [
        ("png", 3, 8, GRAY_ICC),
        ("png", 3, 16, GRAY_ICC),
        ("tif", 3, 16, GRAY_ICC),
        ("jpg", 1, 8, SRGB),
        ("tif", 1, 8, SRGB),
        ("webp", 1, 8, GRAY_ICC),  # gray becomes RGB in a WebP file
        ("png", 3, 8, SRGB[:16] + b"CMYK" + SRGB[20:]),
        ("png", 3, 8, b"no profile"),
    ],
)
def test_leaves_out_a_mismatched_icc_profile(tmp_path, extension, channels, depth, profile):
    path = tmp_path / f"a.{extension}"
    write_photo(path, make_photo(channels, depth, icc_profile=profile))
    assert read_photo(path).icc_profile is None


def test_gray_webp_reads_back_as_equal_channels(tmp_path):
    write_photo(tmp_path / "a.webp", make_photo(1, alpha=True))
    assert_same(read_photo(tmp_path / "a.webp"), np.dstack([GRAY8] * 3), ALPHA8)


def test_replaces_an_existing_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    write_photo(str(path), make_photo())
    assert_same(read_photo(str(path)), RGB8)


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_photo(tmp_path / "a.png", make_photo())
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_threads_do_not_disturb_each_other(tmp_path):
    failures = []

    def work(index):
        path = tmp_path / f"{index}.{('png', 'tif')[index % 2]}"
        photo = make_photo(3, (8, 16)[index // 2 % 2], alpha=True)
        for _ in range(5):
            write_photo(path, photo)
            if not np.array_equal(read_photo(path).pixels, photo.pixels):
                failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(os.listdir(tmp_path)) == 8


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (GRAY8, None),
        (ALPHA8[..., None].repeat(4, -1), None),
        (RGB8[:0], None),
        (RGB8.astype(np.float32), None),
        (RGB8, ALPHA16),
        (RGB8, ALPHA8[:-1]),
    ],
)
def test_photo_checks_its_arrays(pixels, alpha):
    with pytest.raises(InputError, match="Received"):
        Photo(pixels, alpha, None, "PNG")


# === Errors ===


@pytest.mark.parametrize(
    ("name", "depth", "alpha", "fragments"),
    [
        ("a.jpg", 16, False, ["JPEG", "8 bits", ".png", ".tif"]),
        ("a.bmp", 16, False, ["BMP", "8 bits", ".png"]),
        ("a.webp", 16, False, ["WEBP", "8 bits", ".png"]),
        ("a.jpeg", 8, True, ["JPEG", "transparency", ".png"]),
        ("a.bmp", 8, True, ["BMP", "transparency", ".png"]),
        ("a.gif", 8, False, [".gif", ".png", ".webp"]),
        ("a", 8, False, ["extension", ".png"]),
    ],
)
def test_refuses_to_write_what_the_format_cannot_hold(tmp_path, name, depth, alpha, fragments):
    path = tmp_path / name
    photo = make_photo(3, depth, alpha)
    assert_image_error(lambda: write_photo(path, photo), path, *fragments)
    assert_image_error(lambda: check_writable(path, photo), path, *fragments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("extension", "limit"), [("jpg", 65_500), ("webp", 16_383)])
@pytest.mark.parametrize("scale", [1, 2])
def test_finds_sizes_beyond_the_format_before_the_restoration(tmp_path, extension, limit, scale):
    path = tmp_path / f"a.{extension}"
    for shape in ((1, limit // scale, 1), (limit // scale, 1, 1)):
        fits = Photo(np.zeros(shape, np.uint8), None, None, "PNG")
        check_writable(path, fits, scale)
        too_large = Photo(np.zeros((shape[0] + 1, shape[1] + 1, 1), np.uint8), None, None, "PNG")
        assert_image_error(lambda image=too_large: check_writable(path, image, scale), path, limit, ".png")
        check_writable(tmp_path / "a.png", too_large, scale)
    if scale == 1:
        write_photo(path, fits)
        assert_image_error(lambda: write_photo(path, too_large), path, limit)
        assert os.listdir(tmp_path) == [path.name]


def test_writing_below_a_file_or_in_a_missing_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file" / "a.png", tmp_path / "missing" / "a.png"):
        assert_image_error(lambda path=path: write_photo(path, make_photo()), path, "writable folder")
    assert os.listdir(tmp_path) == ["file"]


def test_writing_over_a_folder(tmp_path):
    path = tmp_path / "a.png"
    path.mkdir()
    assert_image_error(lambda: write_photo(path, make_photo()), path, "directory")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_failed_replace_keeps_the_old_file(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    assert_image_error(lambda: write_photo(path, make_photo()), path, os.strerror(number), "space left")
    assert os.listdir(tmp_path) == ["a.png"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def write_bytes(path, data):
        with open("/dev/full", "wb", buffering=0) as full_disk:
            full_disk.write(data)

    path = tmp_path / "a.png"
    monkeypatch.setattr(pathlib.Path, "write_bytes", write_bytes)
    assert_image_error(lambda: write_photo(path, make_photo()), path, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_photo(tmp_path / "a.png", make_photo())
    assert os.listdir(tmp_path) == []
