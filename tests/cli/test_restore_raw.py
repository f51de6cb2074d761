"""rnan-tf restore of camera raw files, against the photographs that they were made of."""

import csv

import numpy as np
import pytest
import skimage.data

from rnan_tf.cli import main
from rnan_tf.photos.photo import read_photo
from tests.helpers.raw_files import camera_light, sample, write_dng

CAT = skimage.data.chelsea()[100:196, 120:248]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def psnr(photo):
    error = photo.pixels / 65535 - CAT / 255
    return -10 * np.log10(np.mean(error**2))


@pytest.mark.parametrize("cfa", ["GRBG", "RGGB", "BGGR", "GBRG"])
def test_a_raw_file_becomes_what_the_camera_saw(folder, cfa, capsys):
    write_dng(folder / "cat.dng", sample(camera_light(CAT), cfa), cfa)
    assert main(["restore", "cat.dng", "-o", "cat.tif", "--fast"]) == 0
    assert "demosaic, since it is a camera's raw file" in capsys.readouterr().out
    photo = read_photo("cat.tif")
    assert photo.pixels.dtype == np.uint16 and photo.icc_profile and psnr(photo) > 38  # measured 40 and more


def test_raw_files_in_a_folder(folder, capsys):
    (folder / "p").mkdir()
    write_dng(folder / "p" / "a.dng", sample(camera_light(CAT), "GRBG"))
    (folder / "p" / "b.nef").write_bytes(b"II*\0" + bytes(50))
    assert main(["restore", "p", "-o", "out", "--fast", "--linear", "--report", "r.csv"]) == 1
    assert read_photo("out/a.tif").icc_profile is None
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert "b.nef" in line
    rows = list(csv.DictReader((folder / "r.csv").open()))
    assert [(row["task"], bool(row["error"])) for row in rows] == [("demosaic", False), ("", True)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--sigma 20", "leave other tasks and strengths out"),
        ("--task denoise", "leave other tasks and strengths out"),
        ("--cfa RGGB", "leave --cfa and --blend out"),
        ("--white-balance 1,0,1", "gain"),
        ("--model denoise", "restores no mosaics"),
    ],
)
def test_options_that_do_not_fit(folder, arguments, message, capsys):
    write_dng(folder / "cat.dng", sample(camera_light(CAT), "GRBG"))
    assert main(["restore", "cat.dng", "-o", "cat.tif", "--fast", *arguments.split()]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line and not (folder / "cat.tif").exists()
    assert main(["restore", "cat.dng", "-o", "cat.jpg", "--fast"]) == 1
    assert "holds 8 bits" in capsys.readouterr().err
