"""The quality of JPEG files by their quantisation tables, and files that are compressed again as they were."""

import numpy as np
import pytest
from PIL import Image

from rnan_tf.photos.jpeg_coding import JpegCoding
from rnan_tf.photos.photo import Photo, read_photo, write_photo
from tests.helpers.image_samples import GRAY8, RGB8, save


@pytest.mark.parametrize("pixels", [RGB8, GRAY8], ids=["colour", "gray"])
def test_libjpeg_s_scale_is_read_exactly(tmp_path, pixels):
    for quality in range(1, 101):
        save(tmp_path / "a.jpg", pixels, quality=quality)
        found = read_photo(tmp_path / "a.jpg").jpeg
        # Some qualities share a table (gray: 1 to 3, say); what was found must give the same.
        save(tmp_path / "b.jpg", pixels, quality=found.quality)
        with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
            assert a.quantization == b.quantization
        assert abs(found.quality - quality) <= 2


@pytest.mark.parametrize("quality", [15, 40, 75, 92])
def test_other_tables_are_near_those_that_are_alike(tmp_path, quality):
    """Camera makers have tables of their own: here libjpeg's, each number a tenth off, in turn above and below."""
    save(tmp_path / "a.jpg", RGB8, quality=quality)
    with Image.open(tmp_path / "a.jpg") as image:
        tables = [
            [max(1, round(step * (1.1 if i % 2 else 0.9))) for i, step in enumerate(table)]
            for table in image.quantization.values()
        ]
    save(tmp_path / "b.jpg", RGB8, qtables=tables)
    assert abs(read_photo(tmp_path / "b.jpg").jpeg.quality - quality) <= 2


def test_tables_of_all_ones_are_quality_100(tmp_path):
    save(tmp_path / "a.jpg", RGB8, qtables=[[1] * 64, [1] * 64])
    assert read_photo(tmp_path / "a.jpg").jpeg.quality == 100


@pytest.mark.parametrize("step", [0, 65535])
def test_impossible_tables_have_a_quality(step):
    assert 1 <= JpegCoding(((step,) * 64, (step,) * 64), "4:2:0").quality <= 100


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [35, 75, 96])
def test_a_jpeg_keeps_its_quality_and_subsampling(tmp_path, quality, subsampling):
    save(tmp_path / "a.jpg", RGB8, quality=quality, subsampling=subsampling)
    write_photo(tmp_path / "b.jpg", read_photo(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
        assert a.quantization == b.quantization and a.layer == b.layer
    write_photo(tmp_path / "c.jpg", read_photo(tmp_path / "a.jpg"), jpeg_quality=50)
    save(tmp_path / "d.jpg", RGB8, quality=50, subsampling=subsampling)
    with Image.open(tmp_path / "c.jpg") as c, Image.open(tmp_path / "d.jpg") as d:
        assert c.quantization == d.quantization and c.layer == d.layer


def test_a_gray_jpeg_that_became_colour_is_written(tmp_path):
    save(tmp_path / "a.jpg", GRAY8, quality=60)
    photo = read_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg", Photo(np.repeat(photo.pixels, 3, 2), None, None, "JPEG", jpeg=photo.jpeg))
    assert read_photo(tmp_path / "b.jpg").pixels.shape == (*GRAY8.shape, 3)
