"""The command `rnan-tf restore`: which photographs go where, and what is kept of them."""

import io
import os
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from rnan_tf.network.loading import load_model
from rnan_tf.photos import photo as images
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.restoring.runtimes import keras as keras_runtime
from rnan_tf.tasks.task import TASKS, get_task
from tests.helpers.command_line import RGB, save, to16


def similar(restored, photo, levels=40):
    """An untrained network changes little: what comes out must still show the photograph."""
    assert restored.shape == photo.shape
    return np.abs(restored.astype(float) - photo).mean() * 255 / np.iinfo(photo.dtype).max < levels


class TestRestore:
    def test_files_folders_and_globs(self, rnan_tf, workplace):
        for name in ("a.png", "folder/b.jpg", "folder/c.png", "folder/notes.txt", "x/d1.png", "x/d2.png", "x/e.png"):
            save(name) if not name.endswith("txt") else (workplace / name).write_text("no photograph")
        code, out, err = rnan_tf("restore a.png folder x/d*.png -o out --model M/denoise.keras --sigma 30")
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
        monkeypatch.setattr(keras_runtime, "load_model", load_model)
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
        scale = get_task(task).scale
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

    def test_the_sigma_that_is_used(self, rnan_tf):
        pixels = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).round().clip(0, 255).astype(np.uint8)
        save("a.png", pixels)
        restored = {}
        for sigma in ("", "auto", "19", "60"):
            code, out, _ = rnan_tf(f"restore a.png -o b.png --model M/denoise.keras {sigma and '--sigma ' + sigma}")
            restored[sigma] = read_photo("b.png").pixels.astype(int)
            said = re.findall(r"^noise sigma (.+), estimated$", "\n".join(out), re.MULTILINE)
            assert code == 0 and len(said) == (sigma in ("", "auto"))
            assert all(18 < float(estimate) < 22 for estimate in said)
        np.testing.assert_array_equal(restored[""], restored["auto"])
        nearer, farther = (np.abs(restored["auto"] - restored[sigma]).mean() for sigma in ("19", "60"))
        assert nearer < farther

    def test_the_quality_of_a_color_jpeg_is_its_file_s(self, rnan_tf, monkeypatch):
        monkeypatch.setattr("skimage.restoration.estimate_sigma", lambda *args, **options: pytest.fail("no noise here"))
        save("a.jpg", quality=30)
        restored = {}
        for quality in ("", "auto", "30", "90"):
            option = quality and f"--quality {quality}"
            code, out, _ = rnan_tf(f"restore a.jpg -o b.png --model M/jpeg-color.keras {option}")
            said = ["JPEG quality 30, by the file's tables"] if quality in ("", "auto") else []
            assert code == 0 and out[1:] == said
            restored[quality] = read_photo("b.png").pixels
        np.testing.assert_array_equal(restored[""], restored["30"])
        np.testing.assert_array_equal(restored["auto"], restored["30"])
        assert np.any(restored["90"] != restored["30"])
        save("a.png")
        out = rnan_tf("restore a.png -o b.png --model M/jpeg-color.keras")[1]
        assert out[1:] == ["JPEG quality 10, assumed; give --quality"]

    def test_noise_that_differs_is_said_and_restored_as_in_python(self, rnan_tf, models):
        import rnan_tf as library

        across = np.linspace(3, 50, 256)[:, None]
        pixels = 128 + np.random.default_rng(0).standard_normal((128, 256, 3)) * across
        save("a.png", pixels.round().clip(0, 255).astype(np.uint8))
        code, out, _ = rnan_tf("restore a.png -o b.png --model M/denoise.keras --report r.csv")
        (least, most) = re.fullmatch(r"noise sigma (\d+) to (\d+), estimated", out[1]).groups()
        assert code == 0 and len(out) == 2 and 5 <= int(least) < 15 and 35 < int(most) < 55
        restored = library.Restorer.from_preset(models / "denoise.keras")("a.png")
        np.testing.assert_array_equal(read_photo("b.png").pixels, restored.pixels)
        low, high = map(float, pathlib.Path("r.csv").read_text().splitlines()[1].split(",")[2].split("-"))
        assert round(low) == int(least) and round(high) == int(most)

    def test_where_the_noise_was_smoothed_it_says_so(self, rnan_tf):
        noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((256, 256, 3)), (1, 1, 0))
        save("a.png", (128 + 12 * noise / noise.std()).round().clip(0, 255).astype(np.uint8))
        out = rnan_tf("restore a.png -o b.png --model M/denoise.keras")[1]
        assert len(out) == 3 and "has smoothed the noise" in out[2] and "--sigma" in out[2]
        assert len(rnan_tf("restore a.png -o b.png --model M/denoise.keras --sigma 12")[1]) == 1
        (_, said) = rnan_tf("restore a.png -o c.png --dry-run")[1]
        assert said.startswith("nothing to do: it is no JPEG and shows noise that a camera or a codec has smoothed")

    def test_an_estimate_stays_within_what_the_model_knows(self, rnan_tf):
        save("a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        assert "noise sigma 60.0, estimated" in rnan_tf("restore a.png -o b.png --model M/denoise.keras")[1]

    @pytest.mark.parametrize("model", ["demosaic", "denoise-gray"])
    def test_auto_is_for_models_that_are_told_the_sigma(self, refused, model):
        save("a.png")
        refused(f"restore a.png -o b.png --model M/{model}.keras --sigma auto", 2, "leave", "--sigma", " out")

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

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_a_bar_over_the_pixels_of_all_photographs_on_a_terminal(self, rnan_tf, monkeypatch, is_terminal):
        for name in ("photos/a.png", "photos/b.jpg"):
            save(name, np.tile(RGB, (2, 2, 1))[:40, :40])
        stream = io.StringIO()
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr(sys, "stderr", stream)
        assert rnan_tf("restore photos -o out --model M/denoise.keras --sigma 30 --tile 16 --overlap 0")[0] == 0
        assert ("/3.20k " in stream.getvalue()) == is_terminal

    @pytest.mark.parametrize("options, threads", [("--model M/denoise.keras", "1"), ("--fast --task denoise", None)])
    def test_one_thread_an_operator_where_keras_restores(self, rnan_tf, monkeypatch, options, threads):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")
        monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")  # to be undone
        save("a.png")
        assert rnan_tf(f"restore a.png -o b.png --sigma 30 {options}")[0] == 0
        assert os.environ.get("TF_NUM_INTRAOP_THREADS") == threads

    def test_a_strength_that_the_model_is_not_told_is_refused(self, refused):
        save("a.png")
        line = "restore a.png -o b.png --model M/jpeg.keras --quality 30"
        refused(line, 2, "is not told the quality", "leave --quality out")


def split(array):
    """(pixels, alpha) of an array of 1, 3 or 4 channels."""
    array = np.atleast_3d(array)
    return (array[..., :3], array[..., 3]) if array.shape[2] == 4 else (array, None)
