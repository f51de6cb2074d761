"""photos.raw given files that are damaged, or hold no Bayer mosaic: one line that says why."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.photos.raw import read_raw
from tests.helpers.image_samples import assert_image_error
from tests.helpers.raw_files import camera_light, sample, write_dng

MOSAIC = sample(camera_light(skimage.data.coffee()[:60, :90]), "GRBG")
LINEAR_RAW = 34892
X_TRANS = [1, 2, 1, 1, 0, 1, 0, 1, 0, 2, 1, 2, 1, 2, 1, 1, 0, 1, 1, 0, 1, 1, 2, 1, 2, 1, 2, 0, 1, 0, 1, 0, 1, 1, 2, 1]


@pytest.fixture
def dng(tmp_path):
    write_dng(tmp_path / "a.dng", MOSAIC)
    return tmp_path / "a.dng"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"CFARepeatPatternDim": [6, 6], "CFAPattern": X_TRANS}, "6 x 6 pixels (X-Trans"),
        ({"CFARepeatPatternDim": [2, 4], "CFAPattern": [0, 1, 0, 1, 1, 2, 1, 2]}, "Bayer's alone"),
        ({"CFAPattern": [3, 4, 5, 1]}, "pattern is MCGY, and the network knows Bayer's alone"),
        ({"CFAPattern": [0, 1, 1, 0]}, "LibRaw cannot read it"),
        ({"PhotometricInterpretation": LINEAR_RAW}, "monochrome sensor"),
        ({"WhiteLevel": 300}, "white level 300 is not above its black level 512"),
    ],
    ids=["X-Trans", "4x2", "complementary", "no Bayer", "monochrome", "levels"],
)
def test_other_sensors(tmp_path, tags, reason):
    write_dng(tmp_path / "a.dng", MOSAIC, **tags)
    assert_image_error(lambda: read_raw(tmp_path / "a.dng"), tmp_path / "a.dng", reason)


def test_three_colours_a_pixel(tmp_path):
    """As small raws and lossy DNGs have."""
    three = {"SamplesPerPixel": 3, "PhotometricInterpretation": LINEAR_RAW, "ImageWidth": 30, "TileWidth": 30}
    write_dng(tmp_path / "a.dng", MOSAIC, **three, BitsPerSample=[16, 16, 16], BlackLevelRepeatDim=[1, 1], BlackLevel=0)
    assert_image_error(lambda: read_raw(tmp_path / "a.dng"), tmp_path / "a.dng", "three colours a pixel")


def test_what_is_no_raw_file(tmp_path):
    text, empty, picture = (tmp_path / f"{name}.dng" for name in ("text", "empty", "picture"))
    text.write_text("hello")
    empty.write_bytes(b"")
    Image.new("RGB", (64, 64)).save(picture, "TIFF")
    for path in (text, empty, picture):
        assert_image_error(lambda path=path: read_raw(path), path, "LibRaw cannot read it")
    assert_image_error(lambda: read_raw(tmp_path / "gone.dng"), tmp_path / "gone.dng", "no such file")
    assert_image_error(lambda: read_raw(tmp_path), tmp_path, "is a folder")
    assert_image_error(lambda: read_raw(text / "a.dng"), text / "a.dng", "cannot be read")


def test_a_truncated_file(dng):
    data = dng.read_bytes()
    for end in (4, 16, 200, len(data) // 3, len(data) // 2, len(data) - 400):
        dng.write_bytes(data[:end])
        assert_image_error(lambda: read_raw(dng), dng, "LibRaw cannot read it")


def test_damage_anywhere_in_the_header_is_one_line_or_no_matter(dng):
    data, rng = dng.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, 600, 3):
            damaged[place] = rng.integers(0, 256)
        dng.write_bytes(damaged)
        try:
            assert np.isfinite(read_raw(dng, max_pixels=10_000).samples).all()
        except Exception:
            assert_image_error(lambda: read_raw(dng, max_pixels=10_000), dng, "")


def test_too_many_pixels(dng):
    assert_image_error(lambda: read_raw(dng, max_pixels=60 * 90 - 1), dng, "90 x 60 pixels, over the limit of 5399")
    read_raw(dng, max_pixels=60 * 90)
