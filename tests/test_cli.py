"""The command `rnan-tf`: what users type, what they get, and what they are told when it goes wrong."""

import argparse
import csv
import errno
import functools
import io
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

from rnan_tf import cli, commands, errors, images
from rnan_tf.degradations import CFA_PATTERNS
from rnan_tf.images import read_photo
from rnan_tf.inference import Tiling
from rnan_tf.loading import load_model, save_model
from rnan_tf.model import RNAN
from rnan_tf.quiet import import_tensorflow
from rnan_tf.tasks import TASKS

REFERENCE = pathlib.Path(__file__).parent / "data" / "reference"
RGB = skimage.data.astronaut()[60:91, 200:237]  # 31x37
MODELS = {
    "denoise": {"conditional": True, "metadata": {"task": "denoise", "level": [5, 60]}},
    "denoise-gray": {"channels": 1, "metadata": {"task": "denoise-gray", "level": [30, 30]}},
    "demosaic": {"space_to_depth": 2, "metadata": {"task": "demosaic", "level": None, "steps": 12}},
    "jpeg": {"channels": 1, "metadata": {"task": "jpeg", "level": [10, 40]}},
    "sr": {"scale": 2, "metadata": {"task": "sr", "level": [2, 2]}},
    "untold": {},
}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of untrained models, one a task."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    for name, kwargs in MODELS.items():
        save_model(RNAN(filters=4, num_blocks=2, **kwargs), folder / f"{name}.keras")
    return folder


@pytest.fixture(scope="session")
def load_once():
    return functools.cache(lambda source: load_model(source))


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch, load_once):
    """An empty current folder; each model is loaded once for all tests, because building it takes a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "load_model", load_once)
    return tmp_path


@pytest.fixture
def rnan_tf(capsys, models):
    """Run the command line: (exit code, lines on stdout, lines on stderr). `M/` stands for the models' folder."""

    def run(line, *more):
        arguments = [word.replace("M/", f"{models}/") for word in line.split()] + list(more)
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def refused(rnan_tf, workplace):
    """Run what must fail: one line on stderr that matches, and no file made or changed."""

    def run(line, code, *parts):
        before = tree(workplace)
        result, _, err = rnan_tf(line)
        assert len(err) == 1 and err[0].startswith("error: "), err
        for part in parts:
            assert part in err[0]
        assert result == code
        assert tree(workplace) == before

    return run


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save(path, array=RGB, **options):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def to16(array):
    return array.astype(np.uint16) * 257 + 3


def similar(restored, photo, levels=40):
    """An untrained network changes little: what comes out must still show the photograph."""
    assert restored.shape == photo.shape
    return np.abs(restored.astype(float) - photo).mean() * 255 / np.iinfo(photo.dtype).max < levels


# === restore ===


class TestRestore:
    def test_files_folders_and_globs(self, rnan_tf, workplace):
        for name in ("a.png", "folder/b.jpg", "folder/c.png", "folder/notes.txt", "x/d1.png", "x/d2.png", "x/e.png"):
            save(name) if not name.endswith("txt") else (workplace / name).write_text("no photograph")
        code, out, err = rnan_tf("restore a.png folder x/d*.png -o out --model M/denoise.keras --level 30")
        assert code == 0 and err == []
        assert sorted(os.listdir("out")) == ["a.png", "b.jpg", "c.png", "d1.png", "d2.png"]
        assert out == [
            f"[{i}/5] {file} -> out/{pathlib.Path(file).name}"
            for i, file in enumerate(("a.png", "folder/b.jpg", "folder/c.png", "x/d1.png", "x/d2.png"), 1)
        ]
        assert similar(read_photo("out/a.png").pixels, RGB) and np.any(read_photo("out/a.png").pixels != RGB)

    @pytest.mark.parametrize("output", ["new.png", "sub/new.tif", "sub/folder", "dots.v2/", "there"])
    def test_one_photograph_to_a_file_or_a_folder(self, rnan_tf, output):
        save("a.png")
        os.mkdir("there")
        assert rnan_tf(f"restore a.png -o {output} --model M/denoise.keras")[0] == 0
        target = pathlib.Path(output) if "new" in output else pathlib.Path(output) / "a.png"
        assert similar(read_photo(target).pixels, RGB)

    def test_a_run_folder_as_model(self, rnan_tf, models, monkeypatch):
        monkeypatch.setattr(commands, "load_model", load_model)
        os.mkdir("run")
        shutil.copy(models / "jpeg.keras", "run/best.keras")
        save("a.png")
        assert rnan_tf("restore a.png -o b.png --model run")[0] == 0
        assert similar(read_photo("b.png").pixels, RGB)

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 3)])
    @pytest.mark.parametrize("task", TASKS)
    def test_small_and_odd_sizes(self, rnan_tf, task, size):
        save("a.png", RGB[: size[0], : size[1], 0])
        code, _, err = rnan_tf(f"restore a.png -o b.png --model M/{task}.keras")
        assert (code, err) == (0, [])
        scale = 2 if task == "sr" else 1
        assert read_photo("b.png").pixels.shape[:2] == (scale * size[0], scale * size[1])

    @pytest.mark.parametrize("name", ["gray8.png", "rgb8.png", "rgba8.png", "gray16.png", "rgb16.png", "rgba16.tif"])
    @pytest.mark.parametrize("task", ["denoise", "jpeg"])
    def test_depth_channels_alpha_and_profile_are_kept(self, rnan_tf, task, name):
        channels = {"gray": 1, "rgb": 3, "rgba": 4}[name.rstrip(".pngtif0123456789")]
        array = np.dstack([RGB, RGB[..., ::-1]])[..., :channels].squeeze()
        array = to16(array) if "16" in name else array
        profile = b"\0" * 16 + (b"RGB " if channels > 1 else b"GRAY") + b"\0" * 108
        images.write_photo(name, images.Photo(*split(array), profile, "PNG"))
        assert rnan_tf(f"restore {name} -o new_{name} --model M/{task}.keras")[0] == 0
        photo, restored = read_photo(name), read_photo(f"new_{name}")
        assert restored.pixels.dtype == array.dtype and similar(restored.pixels, photo.pixels)
        np.testing.assert_array_equal(restored.alpha, photo.alpha)
        assert restored.icc_profile == profile

    def test_palette(self, rnan_tf):
        Image.fromarray(RGB).quantize(16).save("a.png")
        assert rnan_tf("restore a.png -o b.png --model M/denoise.keras")[0] == 0
        assert similar(read_photo("b.png").pixels, np.asarray(Image.open("a.png").convert("RGB")))

    def test_exif_orientation_is_applied_once(self, rnan_tf):
        exif = Image.Exif()
        exif[0x0112] = 6
        save("a.jpg", exif=exif, quality=95)
        assert rnan_tf("restore a.jpg -o b.jpg --model M/jpeg.keras")[0] == 0
        with Image.open("b.jpg") as image:
            assert image.getexif().get(0x0112, 1) == 1
            assert similar(np.asarray(image), np.rot90(RGB, -1))

    @pytest.mark.parametrize("pattern", CFA_PATTERNS)
    @pytest.mark.parametrize("depth", [8, 16])
    def test_mosaics(self, rnan_tf, depth, pattern):
        colour = (np.array([200, 120, 40]) * (257 if depth == 16 else 1)).astype(f"uint{depth}")
        mosaic = np.zeros((31, 37, 3), colour.dtype)
        for i, color in enumerate(pattern):
            channel = "RGB".index(color)
            mosaic[i // 2 :: 2, i % 2 :: 2, channel] = colour[channel]
        images.write_photo("single.png", images.Photo(mosaic.sum(2, colour.dtype, keepdims=True), None, None, "PNG"))
        images.write_photo("rgb.png", images.Photo(mosaic, None, None, "PNG"))
        line = f"restore single.png rgb.png -o out --model M/demosaic.keras --cfa {pattern.lower()}"
        assert rnan_tf(line)[0] == 0
        single, rgb = read_photo("out/single.png").pixels, read_photo("out/rgb.png").pixels
        np.testing.assert_array_equal(single, rgb)
        assert rgb.dtype == colour.dtype and similar(rgb, mosaic)

    def test_self_ensemble_and_tiles_take_effect(self, rnan_tf):
        save("a.png", to16(np.tile(RGB, (2, 2, 1))[..., 0]))
        results = []
        for option in ("", "--tile 32 --overlap 8", "--self-ensemble"):
            assert rnan_tf(f"restore a.png -o b.png --model M/denoise-gray.keras {option}")[0] == 0
            results.append(read_photo("b.png").pixels.astype(int))
        for result in results[1:]:
            assert 0 < np.abs(result - results[0]).mean() < 1000

    def test_a_model_that_does_not_say_its_task(self, rnan_tf, refused):
        save("a.png")
        refused("restore a.png -o b.png --model M/untold.keras", 2, "untold.keras", "give --task")
        assert rnan_tf("restore a.png -o b.png --model M/untold.keras --task denoise")[0] == 0

    def test_the_level_that_is_used(self, rnan_tf):
        pixels = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).round().clip(0, 255).astype(np.uint8)
        save("a.png", pixels)
        restored = {}
        for level in ("", "auto", "19", "60"):
            code, out, _ = rnan_tf(f"restore a.png -o b.png --model M/denoise.keras {level and '--level ' + level}")
            restored[level] = read_photo("b.png").pixels.astype(int)
            said = re.findall(r"^noise sigma (.+), estimated$", "\n".join(out), re.MULTILINE)
            assert code == 0 and len(said) == (level in ("", "auto"))
            assert all(18 < float(sigma) < 22 for sigma in said)
        np.testing.assert_array_equal(restored[""], restored["auto"])
        nearer, farther = (np.abs(restored["auto"] - restored[level]).mean() for level in ("19", "60"))
        assert nearer < farther

    def test_an_estimate_stays_within_what_the_model_knows(self, rnan_tf):
        save("a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        assert "noise sigma 60.0, estimated" in rnan_tf("restore a.png -o b.png --model M/denoise.keras")[1]

    def test_auto_is_for_models_that_are_told_the_level(self, refused):
        save("a.png")
        refused("restore a.png -o b.png --model M/demosaic.keras --level auto", 2, "leave --level out")

    def test_a_result_is_written_over_an_older_one(self, rnan_tf):
        save("a.png")
        pathlib.Path("b.png").write_text("old")
        assert rnan_tf("restore a.png -o b.png --model M/denoise.keras")[0] == 0
        assert similar(read_photo("b.png").pixels, RGB) and sorted(os.listdir()) == ["a.png", "b.png"]

    def test_a_name_that_is_not_text(self, rnan_tf):
        name = os.fsdecode(b"caf\xe9.png")
        save(name)
        assert rnan_tf("restore -o out --model M/denoise.keras", name)[0] == 0
        assert os.listdir("out") == [name]


def split(array):
    """(pixels, alpha) of an array of 1, 3 or 4 channels."""
    array = np.atleast_3d(array)
    return (array[..., :3], array[..., 3]) if array.shape[2] == 4 else (array, None)


def bad_text(path):
    path.write_text("This is no photograph.")


def bad_truncated(path):
    save(path, np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-400])


def bad_cmyk(path):
    Image.fromarray(RGB).convert("CMYK").save(path)


def bad_gif(path):
    frames = [Image.fromarray(RGB[..., i]) for i in range(3)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def bad_bomb(path):
    """A small PNG that claims 30,000 x 30,000 pixels."""
    save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


def bad_float(path):
    tifffile.imwrite(path, RGB.astype(np.float32), photometric="rgb")


def bad_empty(path):
    path.touch()


BAD_FILES = [
    ("a.png", bad_text, "is not a PNG, JPEG, TIFF, BMP or WebP image"),
    ("a.png", bad_truncated, "cut short"),
    ("a.jpg", bad_truncated, "cannot be decoded"),
    ("a.jpg", bad_cmyk, "CMYK"),
    ("a.tif", bad_cmyk, "CMYK"),
    ("a.gif", bad_gif, "still images"),
    ("a.png", bad_gif, "still images"),
    ("a.png", bad_bomb, "30000 x 30000 pixels"),
    ("a.tif", bad_float, "32-bit float"),
    ("a.png", bad_empty, "is empty"),
]


class TestBadPhotographs:
    @pytest.mark.parametrize("name, make, message", BAD_FILES)
    def test_is_reported_and_skipped(self, rnan_tf, workplace, name, make, message):
        make(workplace / name)
        for good in ("0.png", "z.png"):
            save(good)
        code, _, err = rnan_tf(f"restore 0.png {name} z.png -o out --model M/jpeg.keras")
        assert code == 1 and sorted(os.listdir("out")) == ["0.png", "z.png"]
        assert len(err) == 2 and err[0].startswith(f"skipped: {name}") and message in err[0]
        assert err[1] == "error: 1 of 3 photographs could not be restored"

    @pytest.mark.parametrize("name, make, message", BAD_FILES[:2])
    def test_alone(self, refused, workplace, name, make, message):
        make(workplace / name)
        refused(f"restore {name} -o out --model M/jpeg.keras", 1, f"error: {name}", message)

    def test_a_format_that_cannot_hold_it(self, rnan_tf):
        save("a.png", np.dstack([RGB, RGB[..., 0]]))
        save("b.png", to16(RGB[..., 0]))
        for name, what in (("a", "transparency"), ("b", "16")):
            code, _, err = rnan_tf(f"restore {name}.png -o new.jpg --model M/jpeg.keras")
            assert code == 1 and len(err) == 1 and what in err[0] and ".png" in err[0]
        assert sorted(os.listdir()) == ["a.png", "b.png"]

    def test_no_mosaic(self, refused):
        save("a.png")
        refused("restore a.png -o b.png --model M/demosaic.keras", 1, "a.png: not a GRBG mosaic", "--cfa")

    @pytest.mark.parametrize("error", [MemoryError(), "tensorflow"])
    def test_out_of_memory(self, refused, monkeypatch, error):
        if error == "tensorflow":
            error = import_tensorflow().errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith ..")

        def restore_photo(*args, **kwargs):
            raise error

        save("a.png")
        monkeypatch.setattr(commands, "restore_photo", restore_photo)
        refused("restore a.png -o b.png --model M/jpeg.keras", 1, "a.png: out of memory", "smaller --tile than 128")

    def test_a_mistake_of_ours_is_not_hidden(self, rnan_tf, monkeypatch):
        save("a.png")
        monkeypatch.setattr(commands, "restore_photo", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rnan_tf("restore a.png -o b.png --model M/jpeg.keras")


class TestWritingFails:
    def test_no_space(self, rnan_tf):
        """The second photograph is too large for the disk (here: for the largest file allowed)."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        save("a.png")
        save("b.png", np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        save("c.png")
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            code, _, err = rnan_tf("restore a.png b.png c.png -o out --model M/jpeg.keras")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert code == 1 and sorted(os.listdir("out")) == ["a.png", "c.png"]
        assert len(err) == 2 and err[0].startswith("skipped: out/b.png: cannot be written") and "space left" in err[0]

    def test_interrupted(self, rnan_tf, monkeypatch):
        """Ctrl-C in the second photograph: the first one is kept."""
        for name in ("a.png", "b.png", "c.png"):
            save(name)
        restore_photo = commands.restore_photo
        calls = []

        def interrupted(*args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return restore_photo(*args, **kwargs)

        monkeypatch.setattr(commands, "restore_photo", interrupted)
        code, _, err = rnan_tf("restore a.png b.png c.png -o out --model M/jpeg.keras")
        assert (code, err, os.listdir("out")) == (130, ["error: interrupted"], ["a.png"])

    @pytest.mark.parametrize("output", ["file/x.png", "file/folder", "file/"])
    def test_a_path_below_a_file(self, refused, output):
        save("a.png")
        pathlib.Path("file").touch()
        refused(f"restore a.png -o {output} --model M/jpeg.keras", 1, "the folder cannot be made", "name another place")

    def test_no_permission(self, refused, monkeypatch):
        save("a.png")
        os.mkdir("closed")
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "closed")
        refused("restore a.png -o closed --model M/jpeg.keras", 1, "closed: no permission to write")


class TestWrongUse:
    @pytest.mark.parametrize(
        "line, parts",
        [
            ("", ["arguments are required", "rnan-tf --help"]),
            ("improve a.png", ["'improve'", "rnan-tf --help"]),
            ("restore a.png --model M/jpeg.keras", ["-o", "rnan-tf restore --help"]),
            ("restore a.png -o out", ["--model"]),
            ("restore a.png -o out --model M/jpeg.keras --task dehaze", ["'dehaze'", "denoise"]),
            ("restore a.png -o out --model M/demosaic.keras --cfa XTRANS", ["'XTRANS'", "GRBG"]),
            ("restore a.png -o out --model M/jpeg.keras --tile many", ["--tile", "'many'"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 8", ["--tile", "multiple of 4", "got 8"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 130", ["--tile", "got 130"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap 68", ["--overlap", "half the tile (64)", "got 68"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap -4", ["--overlap", "got -4"]),
            ("restore missing.png -o out --model M/jpeg.keras", ["missing.png: no such file"]),
            ("restore missing/ -o out --model M/jpeg.keras", ["missing/: no such file or folder"]),
            ("restore empty -o out --model M/jpeg.keras", ["empty: no image found"]),
            ("restore *.webp -o out --model M/jpeg.keras", ["*.webp: no image found"]),
            ("restore a.png -o a.png --model M/jpeg.keras", ["a.png", "written over", "another place"]),
            ("restore sub -o sub --model M/jpeg.keras", ["sub/a.png", "written over"]),
            ("restore a.png -o link.png --model M/jpeg.keras", ["link.png", "written over"]),
            ("restore a.png sub/a.png -o out --model M/jpeg.keras", ["two photographs", "out/a.png"]),
            ("restore a.png sub/b.png -o b.png --model M/jpeg.keras", ["b.png is one file", "2 photographs"]),
            ("restore a.png -o b.gif --model M/jpeg.keras", ["b.gif", ".png"]),
            ("restore a.png -o out --model none.keras", ["none.keras: no such model"]),
            ("restore a.png -o out --model empty", ["empty: no best.keras"]),
            ("restore a.png -o out --model a.png", ["a.png: not a .keras file"]),
            ("restore a.png -o out --model text.keras", ["text.keras: not a Keras model"]),
            ("restore a.png -o out --model other.keras", ["other.keras", "not an RNAN"]),
            ("restore a.png -o out --model M/jpeg.keras --task demosaic", ["trained for task jpeg, not demosaic"]),
            ("restore a.png -o out --model M/denoise.keras --level 61", ["trained for level 5 to 60, not 61"]),
            ("restore a.png -o out --model M/denoise.keras --level 4", ["trained for level 5 to 60, not 4"]),
            ("restore a.png -o out --model M/denoise.keras --level 10-30", ["a single level"]),
            ("restore a.png -o out --model M/denoise.keras --level strong", ["'strong'", "noise sigma", "0 to 75"]),
            ("restore a.png -o out --model M/denoise.keras --level nan", ["'nan'"]),
            ("restore a.png -o out --model M/denoise.keras --level -5", ["'-5'", "0 to 75"]),
            ("restore a.png -o out --model M/denoise-gray.keras --level 50", ["trained for level 30, not 50"]),
            ("restore a.png -o out --model M/demosaic.keras --level 5", ["no level"]),
            ("restore a.png -o out --model M/sr.keras --level 3", ["trained for level 2, not 3"]),
            ("evaluate --task dehaze --data sub", ["'dehaze'", "demosaic"]),
            ("evaluate --task jpeg --level 101 --data sub", ["'101'", "JPEG quality", "1 to 100"]),
            ("evaluate --task jpeg --level 10-20 --data sub", ["single level"]),
            ("evaluate --task demosaic --level 3 --data sub", ["no level"]),
            ("evaluate --task denoise --level 30 --data missing", ["missing: no such file or folder"]),
            ("evaluate --task denoise --level 30 --data empty", ["empty: no image found"]),
            ("evaluate --task denoise --level 30 --data text.png", ["text.png: is not a PNG"]),
            ("evaluate --task denoise --level 70 --data sub --model M/denoise.keras", ["5 to 60, not 70"]),
            ("evaluate --task denoise --level 30 --data sub --model M/jpeg.keras", ["trained for task jpeg"]),
            ("evaluate --task denoise --level 30 --data sub --tile 3", ["--tile"]),
            ("evaluate --task denoise --level 30 --data sub --self-ensemble", ["--self-ensemble needs --model"]),
            ("evaluate --task denoise --level 30 --data sub --json sub/a.png", ["sub/a.png", "written over"]),
            ("convert missing.npz m.keras", ["missing.npz: no such file"]),
            ("convert text.npz m.keras", ["text.npz: not a readable .npz file"]),
            ("convert text.pt m.keras", ["text.pt: not a PyTorch state_dict"]),
            ("convert text.npz m.h5", ["m.h5", ".keras"]),
            ("convert text.npz m.keras --level 3", ["--level needs --task"]),
            ("convert text.npz m.keras --task denoise", ["give --level"]),
            ("convert R/restore_rgb_f16_g3.npz m.keras --task jpeg --level 10", ["3 image channels"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task sr --level 3", ["enlarges by 2, not by 3"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task demosaic", ["enlarges by 2"]),
            ("info missing.keras", ["missing.keras: no such model"]),
            ("info text.keras", ["text.keras: not a Keras model"]),
        ],
    )
    def test_one_line_and_exit_code_2(self, refused, line, parts):
        save("a.png")
        save("sub/a.png")
        save("sub/b.png")
        os.symlink("a.png", "link.png")
        os.mkdir("empty")
        for name in ("text.png", "text.npz", "text.pt", "text.keras"):
            pathlib.Path(name).write_text("nothing of the kind")
        if "other.keras" in line:
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save("other.keras")
        refused(line.replace("R/", f"{REFERENCE}/"), 2, *parts)
        assert not os.path.exists("out")


# === evaluate ===


class TestEvaluate:
    def test_report(self, rnan_tf):
        save("data/a.png")
        save("data/b.png", RGB[::-1, ::-1])
        line = "evaluate --task denoise --level 30 --data data --model M/denoise.keras --json r/r.json --csv r/r.csv"
        code, out, err = rnan_tf(line)
        assert (code, err) == (0, [])
        report = json.loads(pathlib.Path("r/r.json").read_text())
        assert list(report) == ["task", "level", "mean", "images"]
        assert report["task"] == "denoise" and report["level"] == 30
        assert [image["name"] for image in report["images"]] == ["a.png", "b.png"]
        for key in ("psnr", "ssim"):
            assert report["mean"][key] == pytest.approx(np.mean([image[key] for image in report["images"]]))
        with open("r/r.csv", newline="") as file:
            rows = [{k: v if k == "name" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        assert rows == report["images"]
        shown = [("a.png", report["images"][0]), ("b.png", report["images"][1]), ("mean ", report["mean"])]
        assert out == [f"{name}  {row['psnr']:6.2f} dB  {row['ssim']:.4f}" for name, row in shown]
        assert rnan_tf(line)[1] == out, "the same noise again"
        assert rnan_tf(line + " --seed 1")[1] != out

    @pytest.mark.parametrize("task, level", [("denoise", 25), ("denoise-gray", 50), ("demosaic", None), ("jpeg", 20)])
    def test_without_a_model_the_degraded_input_is_measured(self, rnan_tf, task, level):
        save("a.png", skimage.data.astronaut()[:128, 150:278])
        option = f"--level {level}" if level else ""
        assert rnan_tf(f"evaluate --task {task} {option} --data a.png --json r.json")[0] == 0
        report = json.loads(pathlib.Path("r.json").read_text())
        assert report["level"] == level
        low, high = {"denoise": (20, 21.5), "denoise-gray": (14, 16), "demosaic": (5, 12), "jpeg": (27, 36)}[task]
        assert low < report["mean"]["psnr"] < high

    def test_a_model_that_restores_counts(self, rnan_tf, monkeypatch):
        save("a.png", np.full((32, 32, 3), 128, np.uint8))
        monkeypatch.setattr(commands, "model_predictor", lambda model, level: lambda x: x * 0 + 128 / 255)
        assert rnan_tf("evaluate --task demosaic --data a.png --model M/demosaic.keras --json r.json")[0] == 0
        # Perfect: infinity, for which JSON has no number.
        assert json.loads(pathlib.Path("r.json").read_text())["mean"] == {"psnr": None, "ssim": 1.0}

    def test_the_models_own_level_is_the_default(self, rnan_tf):
        save("a.png")
        rnan_tf("evaluate --task denoise-gray --data a.png --model M/denoise-gray.keras --json r.json")
        assert json.loads(pathlib.Path("r.json").read_text())["level"] == 30

    @pytest.mark.parametrize("option", ["--json", "--csv"])
    def test_a_report_that_cannot_be_written(self, refused, option, monkeypatch):
        monkeypatch.setattr(commands, "evaluate", lambda *args: pytest.fail("hours of work before it is noticed"))
        save("a.png")
        pathlib.Path("file").touch()
        refused(f"evaluate --task demosaic --data a.png {option} file/r", 1, "file: the folder cannot be made")

    def test_out_of_memory(self, refused, monkeypatch):
        def evaluate(*args):
            raise MemoryError

        monkeypatch.setattr(commands, "evaluate", evaluate)
        save("a.png")
        refused("evaluate --task demosaic --data a.png", 1, "out of memory", "--tile")


# === convert, info ===


class TestConvert:
    @pytest.mark.parametrize(
        "fixture, options, metadata",
        [
            ("restore_rgb_f16_g3", "--task demosaic", {"task": "demosaic", "level": None}),
            ("restore_gray_f16_g3", "--task denoise-gray --level 50", {"task": "denoise-gray", "level": [50, 50]}),
            ("sr_x3_f16_g3", "--task sr", {"task": "sr", "level": [3, 3]}),
            ("sr_x2_f16_g3", "", {}),
        ],
    )
    def test_converted_models_compute_what_the_reference_does(self, rnan_tf, fixture, options, metadata):
        with np.load(REFERENCE / f"{fixture}.npz") as file:
            reference = {name: file[name] for name in file.files}
        np.savez("weights.npz", **{n: x for n, x in reference.items() if n.startswith("state_dict/")})
        code, out, err = rnan_tf(f"convert weights.npz sub/m.keras {options}")
        assert (code, err) == (0, []) and out[0].startswith("wrote sub/m.keras: ")
        model = load_model("sub/m.keras")
        assert model.metadata == {"converted_from": "weights.npz", **metadata}
        restored = model(reference["input"].transpose(0, 2, 3, 1) / 255) * 255
        expected = reference["output"].transpose(0, 2, 3, 1)
        assert np.abs(restored - expected).max() < 1e-3 * np.abs(expected).max()
        assert os.listdir("sub") == ["m.keras"]

    def test_pytorch_file(self, rnan_tf):
        torch = pytest.importorskip("torch")
        with np.load(REFERENCE / "restore_gray_f16_g3.npz") as file:
            state = {n.removeprefix("state_dict/"): file[n] for n in file.files if n.startswith("state_dict/")}
        torch.save({name: torch.tensor(value) for name, value in state.items()}, "weights.pt")
        assert rnan_tf("convert weights.pt m.keras --task jpeg --level 10-40")[0] == 0
        model = load_model("m.keras")
        assert model.metadata == {"task": "jpeg", "level": [10, 40], "converted_from": "weights.pt"}
        np.testing.assert_array_equal(model.get_layer("head").bias, state["head.0.bias"])

    def test_cannot_be_written(self, refused, monkeypatch):
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(RNAN, "save", save)
        pathlib.Path("m.keras").write_text("old")
        refused(f"convert {REFERENCE}/restore_gray_f16_g3.npz m.keras", 1, "m.keras", "No space left on device")


def test_info(rnan_tf, models):
    code, out, err = rnan_tf("info M/demosaic.keras")
    assert (code, err) == (0, [])
    lines = dict(line.split(maxsplit=1) for line in out)
    assert lines["task"] == "demosaic" and lines["steps"] == "12" and lines["scale"] == "x1"
    assert lines["parameters"] == f"{load_model(models / 'demosaic.keras').count_params():,}"
    assert "million a pixel" in lines["multiply-adds"]


# === The frame ===


def test_names_and_defaults_that_are_written_twice_agree(capsys):
    """The parser repeats them, because importing them would import TensorFlow."""
    assert tuple(TASKS) == cli.TASK_NAMES and cli.CFA_NAMES == CFA_PATTERNS
    with pytest.raises(SystemExit):
        cli.main(["restore", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"restored at a time ({Tiling().tile};" in text
    assert f"neighbouring tiles share ({Tiling().overlap};" in text


@pytest.mark.parametrize("option, shown", [("--help", "restore"), ("restore --help", "--self-ensemble")])
def test_help(capsys, option, shown):
    with pytest.raises(SystemExit) as stop:
        cli.main(option.split())
    assert stop.value.code == 0 and shown in capsys.readouterr().out


@pytest.mark.parametrize(
    "error, code, line",
    [
        (errors.InputError("two\nlines"), 2, "error: two lines"),
        (errors.JobError("failed"), 1, "error: failed"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: [Errno 13] Permission denied: 'x'"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError(), 1, "error: out of memory; give a smaller --tile, or in training a smaller --batch-size"),
    ],
)
def test_exit_codes(capsys, error, code, line):
    @errors.command
    def main():
        raise error

    assert main() == code
    assert capsys.readouterr().err == line + "\n"


def test_exit_code_of_success_and_of_mistakes_of_ours():
    assert errors.command(lambda: None)() == 0 and errors.command(lambda: 3)() == 3
    with pytest.raises(ZeroDivisionError):
        errors.command(lambda: 1 / 0)()


def test_help_imports_no_tensorflow(run_python):
    script = """
import json, sys
from rnan_tf import cli
try:
    cli.main(["--help"])
except SystemExit:
    print(json.dumps([name for name in ("tensorflow", "keras", "numpy", "PIL") if name in sys.modules]))
"""
    assert run_python(script) == []


def test_what_the_user_sees(workplace, models):
    """A process of its own without our settings: no notices of TensorFlow, nothing but the program's own lines."""
    save("a.png")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    line = f"restore a.png missing.txt -o out --model {models}/jpeg.keras".split()
    pathlib.Path("missing.txt").write_text("no photograph")
    command = [sys.executable, "-m", "rnan_tf.cli", *line]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["[1/2] a.png -> out/a.png", "[2/2] missing.txt -> out/missing.txt"]
    skipped, error = done.stderr.splitlines()
    assert skipped.startswith("skipped: missing.txt: is not a PNG")
    assert error == "error: 1 of 2 photographs could not be restored"


def test_an_import_that_fails_shows_all(workplace, run_python):
    """The notices are kept back for a good import only; a closed stderr is no obstacle."""
    os.makedirs("fake/tensorflow")
    pathlib.Path("fake/tensorflow/__init__.py").write_text(
        "import os\nos.write(2, b'a notice\\n')\nif os.environ.get('BROKEN'): raise ImportError('broken')\n"
    )
    script = """
import json, os, sys, tempfile
sys.path.insert(0, "fake")
from rnan_tf.quiet import import_tensorflow
if len(sys.argv) > 1:
    os.close(2)
else:
    stream = tempfile.TemporaryFile()
    os.dup2(stream.fileno(), 2)
try:
    result = import_tensorflow().__name__
except ImportError as error:
    result = str(error)
if len(sys.argv) == 1:
    os.write(2, b"later")
    stream.seek(0)
    result += ": " + stream.read().decode()
print(json.dumps(result))
"""
    assert run_python(script) == "tensorflow: later"
    assert run_python(script, BROKEN="1") == "broken: a notice\nlater"
    assert run_python(script, "closed") == "tensorflow"


def test_parser_complains_in_one_line():
    assert issubclass(cli.Parser, argparse.ArgumentParser)
    with pytest.raises(errors.InputError, match="see `x --help`"):
        cli.Parser(prog="x").parse_args(["--unknown"])


def test_csv_quotes_names():
    text = commands._csv([{"name": 'a,"b".png', "psnr": 1.5, "ssim": 0.5}])
    assert list(csv.DictReader(io.StringIO(text))) == [{"name": 'a,"b".png', "psnr": "1.5", "ssim": "0.5"}]
