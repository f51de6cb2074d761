"""What a raw file says of the photograph is in the developed one, and nothing else."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import ExifTags, Image

from rnan_tf.photos.metadata import NO_METADATA, read_raw_metadata
from rnan_tf.photos.photo import Photo, write_photo
from rnan_tf.photos.raw import read_raw
from tests.helpers.raw_files import camera_light, sample, write_dng

MOSAIC = sample(camera_light(skimage.data.coffee()[:60, :90]), "GRBG")
# In the first directory, as TIFF/EP has them.
TAGS = {
    "Make": "Canon",
    "Model": "EOS 5D",
    "Orientation": 6,
    "DateTime": "2026:01:02 03:04:05",
    "ExposureTime": [[1, 250]],
    "FNumber": [[28, 10]],
    "PhotographicSensitivity": [800],
}


def with_exif_directory(values):
    """A TIFF file's bytes, as NEF, CR2 and ARW begin: its first directory, and one of EXIF data."""
    exif = Image.Exif()
    exif.update({0x010F: "NIKON", 0x0110: "D90", 0x0112: 8})
    exif[ExifTags.IFD.Exif] = values
    exif.endian = "<"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def read_back(path):
    with Image.open(path) as image:
        exif = image.getexif()
        return exif, exif.get_ifd(ExifTags.IFD.Exif)


@pytest.mark.parametrize("extension", ["tif", "png"])
def test_maker_exposure_and_date_are_kept_and_the_orientation_is_not(tmp_path, extension):
    write_dng(tmp_path / "a.dng", MOSAIC, **TAGS)
    raw = read_raw(tmp_path / "a.dng")
    demosaiced = Photo(np.zeros((*MOSAIC.shape, 3), np.uint16), None, None, "TIFF")
    photo = raw.develop(demosaiced)
    assert photo.pixels.shape == (90, 60, 3)  # turned
    write_photo(tmp_path / f"b.{extension}", photo)
    exif, more = read_back(tmp_path / f"b.{extension}")
    assert [exif.get(tag) for tag in (0x010F, 0x0110, 0x0132)] == ["Canon", "EOS 5D", "2026:01:02 03:04:05"]
    assert exif.get(0x0112, 1) == 1
    found = [more[tag] for tag in (0x829A, 0x829D, 0x8827)]
    assert found == pytest.approx([1 / 250, 2.8, 800])


def test_a_directory_of_exif_data_comes_without_maker_notes():
    data = with_exif_directory({0x829A: (1, 60), 0x9003: "2025:12:31 23:59:59", 0x927C: b"\0" * 5000, 0xA434: "50 mm"})
    for file in (data, b"IIRO" + data[4:], b"IIU\0" + data[4:]):  # as ORF and RW2 begin
        block = read_raw_metadata(file).exif
        exif = Image.Exif()
        exif.load(block)
        more = exif.get_ifd(ExifTags.IFD.Exif)
        assert (exif[0x010F], more[0x9003], more[0xA434]) == ("NIKON", "2025:12:31 23:59:59", "50 mm")
        assert 0x927C not in more and 0x0112 not in exif and len(block) < 500


@pytest.mark.parametrize("data", [b"", b"II", b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx ", b"II*\0\xff\xff\xff\xff"])
def test_of_other_kinds_and_damaged_ones_nothing_is_known(data):
    assert read_raw_metadata(data) == NO_METADATA


def test_ten_megabytes_are_left_out_with_a_line():
    data = with_exif_directory({0x9286: b"ASCII\0\0\0" + b"x" * 10_000_000})
    found = read_raw_metadata(data)
    assert found.exif is None and "EXIF data left out, over the limit" in found.lost[0]


def test_damage_is_no_matter(tmp_path):
    data, rng = with_exif_directory({0x829A: (1, 60), 0x9003: "2025:12:31 23:59:59"}), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(4, len(data), 4):
            damaged[place] = rng.integers(0, 256)
        metadata = read_raw_metadata(bytes(damaged))
        photo = Photo(np.zeros((8, 8, 3), np.uint8), None, None, "TIFF", metadata)
        write_photo(tmp_path / "a.png", photo)
        write_photo(tmp_path / "a.tif", photo)
        Image.open(io.BytesIO((tmp_path / "a.tif").read_bytes())).load()
