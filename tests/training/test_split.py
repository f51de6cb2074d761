"""rnan_tf.training.split: what is trained on, what is held out, and JPEGs whose chroma is subsampled."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.cli.train import main
from rnan_tf.errors import InputError
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.split import is_subsampled, subsampled_notice, training_files
from training import bundle

RGB = skimage.data.astronaut()[:40, 180:230]


def save(path, pixels=RGB, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "pixels", "options", "expected"),
    [
        ("a.jpg", RGB, {"subsampling": "4:2:0"}, True),
        ("a.jpg", RGB, {"subsampling": "4:2:2"}, True),
        ("a.jpg", RGB, {"subsampling": "4:1:1"}, True),
        ("a.jpg", RGB, {}, True),
        ("a.jpg", RGB, {"subsampling": "4:4:4"}, False),
        ("a.jpg", RGB, {"keep_rgb": True}, False),
        ("a.jpg", RGB[..., 0], {}, False),
        ("a.jpg", np.dstack([RGB, RGB[..., 0]]), {"cmyk": True}, False),
        ("a.png", RGB, {}, False),
    ],
)
def test_what_is_subsampled(tmp_path, name, pixels, options, expected):
    image = Image.fromarray(pixels)
    if options.pop("cmyk", False):
        image = image.convert("RGB").convert("CMYK")
    image.save(tmp_path / name, **options)
    assert is_subsampled(tmp_path / name) is expected


def test_the_content_and_not_the_name_tells(tmp_path):
    (save(tmp_path / "a.jpg")).rename(tmp_path / "a.png")
    assert is_subsampled(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes(b"no JPEG")
    assert not is_subsampled(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes()[:30])
    assert not is_subsampled(tmp_path / "a.jpg")


@pytest.fixture
def mixed(tmp_path):
    """Every second of eight photographs is a JPEG with subsampled chroma, the first too."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        save(folder / f"{number}a.jpg", RGB + np.uint8(number))
        save(folder / f"{number}b.png", RGB + np.uint8(number))
    return folder


def test_subsampled_photographs_are_left_out_of_both_parts(mixed):
    names = [sorted(file.name for file in part) for part in training_files([str(mixed)], [])]
    assert names == [["0b.png", "1a.jpg", "1b.png", "2a.jpg", "2b.png", "3a.jpg", "3b.png"], ["0a.jpg"]]
    names = [sorted(file.name for file in part) for part in training_files([str(mixed)], [], skip_subsampled=True)]
    assert names == [["1b.png", "2b.png", "3b.png"], ["0b.png"]]
    # Photographs that are named to validate on stay.
    names = [[file.name for file in part] for part in training_files([str(mixed)], [str(mixed / "0a.jpg")], True)]
    assert names == [["0b.png", "1b.png", "2b.png", "3b.png"], ["0a.jpg"]]


def test_nothing_left_is_named(mixed):
    with pytest.raises(InputError, match=r"every photograph of `data` is a JPEG .*; leave `skip_subsampled` out"):
        training_files([str(mixed / "*.jpg")], [], skip_subsampled=True)


@pytest.mark.parametrize(
    ("skipped", "what"), [(True, "which are left out"), (False, "which --skip-subsampled leaves out")]
)
def test_the_notice_counts(mixed, skipped, what):
    line = f"4 of 8 photographs of --data are JPEGs with subsampled chroma, {what}"
    assert subsampled_notice([str(mixed)], skipped) == line


@pytest.mark.parametrize(
    ("task", "flags", "line"),
    [
        (
            "denoise",
            [],
            "4 of 8 photographs of --data are JPEGs with subsampled chroma, which --skip-subsampled leaves out",
        ),
        (
            "sr-x2",
            ["--skip-subsampled"],
            "4 of 8 photographs of --data are JPEGs with subsampled chroma, which are left out",
        ),
        ("jpeg", [], None),
    ],
)
def test_the_trainer_says_so_on_start(mixed, tmp_path, capsys, task, flags, line):
    # The photographs are too small for such a patch, so that the run ends before the first step.
    arguments = ["--task", task, "--data", str(mixed), "--patch-size", "64", "--steps", "1", "--model", "rnan_lite"]
    assert main([*arguments, "--run-dir", str(tmp_path / "run"), *flags]) == 2
    captured = capsys.readouterr()
    assert f"none of {3 if flags else 7} images" in captured.err
    assert captured.out.splitlines()[1:2] == ([line] if line else [])


def test_a_manifest_has_the_flag(tmp_path):
    config = TrainConfig(data=("far/photographs",), skip_subsampled=True)
    command = bundle.as_command(tmp_path, bundle.given_options(config, ""))
    assert "--data photographs --skip-subsampled --run-dir" in command
