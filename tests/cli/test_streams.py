"""The command `rnan-tf restore` between standard input and standard output."""

import io
import os
import pathlib
import sys

import numpy as np
import pytest
import skimage.data

from rnan_tf import cli
from rnan_tf.photos.photo import read_photo
from tests.helpers.command_line import RGB, save, to16


@pytest.fixture
def run_stream(monkeypatch, capfdbinary):
    """Run the command line with bytes on standard input: (bytes on standard output, lines on stderr, exit code)."""

    def run(data, line):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = cli.main(line.split())
        out, err = capfdbinary.readouterr()
        return out, err.decode().splitlines(), code

    return run


def file_of(data, name="b"):
    pathlib.Path(name).write_bytes(data)
    return read_photo(name)


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_standard_input_and_output(workplace, run_stream, extension):
    save(f"a.{extension}")
    photo = pathlib.Path(f"a.{extension}").read_bytes()
    data, err, code = run_stream(photo, "restore - -o - --task denoise --fast --sigma 5")
    assert file_of(data).format == {"png": "PNG", "jpg": "JPEG"}[extension]
    assert (err, code) == (["[1/1] - -> -"], 0)


@pytest.mark.parametrize(
    ("name", "options", "same"),
    [
        ("a.png", "", True),
        ("a.png", "--format png", True),
        ("a.png", "--format tif", False),
        ("a.jpg", "", True),
        ("a.jpg", "--format png", False),
        ("a.png", "--strip-metadata", False),
    ],
)
def test_what_needs_nothing_is_passed_through(workplace, run_stream, name, options, same):
    save(name, **({"quality": 97} if "jpg" in name else {"dpi": (300, 300)}))
    photo = pathlib.Path(name).read_bytes()
    for source in ("-", name):
        data, err, code = run_stream(photo, f"restore {source} -o - {options}")
        assert code == 0 and err[0] == f"[1/1] {source} -> -" and "nothing to do: it is " in err[1]
        assert (data == photo) == same
        passed = file_of(data)
        np.testing.assert_array_equal(passed.pixels, read_photo(name).pixels)
        assert passed.format == {"--format tif": "TIFF", "--format png": "PNG"}.get(options, read_photo(name).format)
    assert run_stream(photo, f"restore - -o - {options} --dry-run")[::2] == (b"", 0)


def test_what_the_asked_format_cannot_hold_is_not_passed_through(workplace, run_stream):
    from rnan_tf.photos.photo import write_photo

    write_photo("a.png", to16(RGB))
    data, err, code = run_stream(pathlib.Path("a.png").read_bytes(), "restore - -o - --format jpg")
    assert (data, code) == (b"", 1) and "holds 8 bits" in err[-1]


def test_a_file_of_that_name_does_not_matter(workplace, run_stream):
    save("a.png")
    photo = pathlib.Path("a.png").read_bytes()
    pathlib.Path("-").write_bytes(photo)
    assert run_stream(photo, "restore - -o -")[::2] == (photo, 0)
    assert run_stream(photo, "restore - -o - --skip-existing")[::2] == (photo, 0)
    assert run_stream(photo, "restore - -o b.png --task denoise --fast --report r.csv")[2] == 0
    assert sorted(os.listdir()) == ["-", "a.png", "b.png", "r.csv"]


def test_a_raw_file_is_told_by_its_content(workplace, run_stream):
    from tests.helpers.raw_files import camera_light, sample, write_dng

    write_dng(workplace / "a.dng", sample(camera_light(skimage.data.chelsea()[100:164, 120:200]), "RGGB"), "RGGB")
    run_stream(b"", "restore a.dng -o a.tif --fast")
    data, err, code = run_stream(pathlib.Path("a.dng").read_bytes(), "restore - -o - --fast")
    assert code == 0 and any("demosaic, since it is a camera's raw file" in line for line in err)
    assert data == pathlib.Path("a.tif").read_bytes()
    data, _, code = run_stream(pathlib.Path("a.dng").read_bytes(), "restore - -o - --format png --fast")
    assert code == 0 and file_of(data).format == "PNG"
    np.testing.assert_array_equal(file_of(data).pixels, read_photo("a.tif").pixels)
    assert run_stream(pathlib.Path("a.tif").read_bytes(), "restore - -o - --dry-run")[2] == 0  # a TIFF file is none
