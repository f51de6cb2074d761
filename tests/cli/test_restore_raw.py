"""rnan-tf restore of camera raw files, against the photographs that they were made of."""

import csv
import os
import pathlib
import re

import numpy as np
import pytest
import skimage.data
from PIL import Image

import rnan_tf
from rnan_tf.cli import main, restore
from rnan_tf.errors import InputError
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


def test_options_for_raw_files_leave_the_others_alone(folder, capsys):
    write_dng(folder / "a.dng", sample(camera_light(CAT), "GRBG"))
    Image.fromarray(CAT).save("b.png")
    options = ["--dry-run", "--linear", "--white-balance", "2,1,1"]
    assert main(["restore", "a.dng", "b.png", "-o", "out", *options]) == 0
    out = capsys.readouterr().out.splitlines()
    said = "--white-balance and --linear left out: for raw photographs alone"
    assert [said in line for line in out] == [False, False, False, False, True]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--task denoise", "leave other tasks and --quality out"),
        ("--quality 20", "leave other tasks and --quality out"),
        ("--task demosaic --sigma 20", "task demosaic has no"),
        ("--sigma 80", "number from 0 to 75"),
        ("--cfa RGGB", "leave --cfa and --blend out"),
        ("--white-balance 1,0,1", "gain"),
        ("--model denoise", "restores no mosaics"),
    ],
)
def test_options_that_do_not_fit(folder, arguments, message, capsys):
    write_dng(folder / "cat.dng", sample(camera_light(CAT), "GRBG"))
    # What the network of that task refuses, and what is no such number, no photograph can have.
    code = 2 if "--sigma" in arguments or "--white" in arguments else 1
    assert main(["restore", "cat.dng", "-o", "cat.tif", "--fast", *arguments.split()]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line and not (folder / "cat.tif").exists()


@pytest.mark.parametrize("extension", ["jpg", "webp", "png"])
def test_results_in_formats_of_8_and_16_bits(folder, extension):
    write_dng(folder / "a.dng", sample(camera_light(CAT), "GRBG"), Model="EOS")
    assert main(["restore", "a.dng", "-o", "a.tif", "--fast"]) == 0
    assert main(["restore", "a.dng", "-o", f"a.{extension}", "--fast"]) == 0
    whole, photo = read_photo("a.tif"), read_photo(f"a.{extension}")
    bits = 16 if extension == "png" else 8
    assert photo.pixels.dtype == f"uint{bits}" and photo.icc_profile == whole.icc_profile
    error = whole.pixels / 65535 - photo.pixels / (2**bits - 1)
    assert np.abs(error).max() <= {"jpg": 12 / 255, "webp": 0.501 / 255, "png": 0}[extension]  # of JPEG 5 levels here
    rnan_tf.restore("a.dng", f"b.{extension}", fast=True)
    assert (folder / f"b.{extension}").read_bytes() == (folder / f"a.{extension}").read_bytes()


def test_one_network_alone_takes_no_raw_files(folder):
    write_dng(folder / "a.dng", sample(camera_light(CAT), "GRBG"))
    with pytest.raises(InputError, match="is a camera raw file; give it to"):
        rnan_tf.Restorer.from_preset("demosaic", fast=True)("a.dng")


def exposed(photons, side=384):
    """Write a noisy raw photograph: so many photons saturate a pixel. Return the clean one."""
    clean = skimage.data.astronaut()[:side, :side]
    light = sample(camera_light(clean), "RGGB")
    write_dng(pathlib.Path("a.dng"), np.random.default_rng(0).poisson(light.clip(0) * photons) / photons, "RGGB")
    return clean


@pytest.mark.slow
def test_noise_is_taken_away(folder, capsys):
    clean, found = exposed(300), {}
    for option in ("", "--sigma 0", "--task demosaic", "--sigma 15"):
        assert main(["restore", "a.dng", "-o", "b.tif", "--fast", "--report", "r.csv", *option.split()]) == 0
        row = next(csv.DictReader((folder / "r.csv").open()))
        printed = capsys.readouterr().out
        assert (", and denoise: noise sigma 15.0" in printed) == (option == "--sigma 15")
        said = re.findall(r"shows noise: noise sigma (.+), estimated", printed)
        assert row["task"] == ("demosaic+denoise" if option in ("", "--sigma 15") else "demosaic")
        assert len(said) == (option == "") and bool(row["strength"]) == (option in ("", "--sigma 15"))
        found[option] = -10 * np.log10(np.mean((read_photo("b.tif").pixels / 65535 - clean / 255) ** 2))
    assert found["--sigma 0"] == found["--task demosaic"] < found[""] - 1
    assert found["--sigma 15"] > found["--sigma 0"] + 1


def test_a_clean_raw_file_is_only_demosaiced(folder, capsys):
    clean = skimage.data.astronaut()[:256, :256]
    write_dng(folder / "a.dng", sample(camera_light(clean), "RGGB"), "RGGB")
    assert main(["restore", "a.dng", "-o", "b.tif", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "demosaic, since it is a camera's raw file"


def test_what_the_file_says_is_kept_or_stripped(folder):
    write_dng(folder / "a.dng", sample(camera_light(CAT), "GRBG"), Model="EOS", DateTime="2026:01:02 03:04:05")
    for option, model in ((), "EOS"), (("--strip-metadata",), None):
        assert main(["restore", "a.dng", "-o", "b.tif", "--fast", *option]) == 0
        with Image.open("b.tif") as image:
            assert image.getexif().get(0x0110) == model and image.getexif().get(0x0112, 1) == 1


def test_a_raw_file_that_vanishes_and_names_that_are_no_text(folder, capsys, monkeypatch):
    (folder / "p").mkdir()
    for name in (b"a.dng", b"b.dng", b"caf\xe9\n.dng"):
        write_dng(folder / "x.dng", sample(camera_light(CAT), "GRBG"))
        os.replace("x.dng", os.path.join("p", os.fsdecode(name)))
    read = restore.read_raw

    def vanishing(path, *more):
        if path.endswith("a.dng"):
            os.remove("p/b.dng")
        return read(path, *more)

    monkeypatch.setattr(restore, "read_raw", vanishing)
    assert main(["restore", "p", "-o", "out", "--fast"]) == 1
    assert sorted(map(os.fsencode, os.listdir("out"))) == [b"a.tif", b"caf\xe9\n.tif"]
    assert "skipped: p/b.dng: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"sigma": 0}, {"sigma": 8}, {"task": "demosaic"}, {"tile": None}])
def test_python_does_what_the_command_does(folder, options):
    exposed(300, side=128)
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    assert main(["restore", "a.dng", "-o", "b.tif", "--fast", *words]) == 0
    photo = rnan_tf.restore("a.dng", "new/c.tif", fast=True, **options)
    np.testing.assert_array_equal(photo.pixels, read_photo("b.tif").pixels)
    assert (folder / "new" / "c.tif").read_bytes() == (folder / "b.tif").read_bytes()


def test_white_balance_and_linear_light_in_python(folder):
    exposed(300, side=128)
    assert main(["restore", "a.dng", "-o", "b.tif", "--fast", "--white-balance", "2,1,1.5", "--linear"]) == 0
    photo = rnan_tf.restore("a.dng", fast=True, white_balance=(2, 1, 1.5), linear=True)
    np.testing.assert_array_equal(photo.pixels, read_photo("b.tif").pixels)
    assert (photo.pixels != rnan_tf.restore("a.dng", fast=True, white_balance=(2, 1, 1.5)).pixels).any()
    for option in ({"linear": True}, {"white_balance": (2, 1, 1.5)}):
        with pytest.raises(InputError, match="for raw photographs alone"):
            rnan_tf.restore(CAT, fast=True, **option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "denoise"}, "leave other tasks and `quality` out"),
        ({"quality": 20}, "leave other tasks and `quality` out"),
        ({"task": "demosaic", "sigma": 20}, "task demosaic has no `sigma`; leave it out"),
        ({"sigma": 80}, "trained for sigma 0 to 75, not 80"),
        ({"blend": 0.5}, "leave `cfa` and `blend` out"),
        ({"model": "denoise"}, "restores no mosaics"),
        ({"target": "b.pdf"}, "no format has the extension '.pdf'"),
        ({"white_balance": (1, 0, 2)}, "must be three gains above 0"),
    ],
)
def test_options_that_do_not_fit_in_python(folder, options, message):
    write_dng(folder / "a.dng", sample(camera_light(CAT), "GRBG"))
    with pytest.raises(InputError, match=message):
        rnan_tf.restore("a.dng", **{"target": "b.tif", "fast": True, **options})
    assert os.listdir() == ["a.dng"]
