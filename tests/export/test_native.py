"""export/native: the C++ program against Python, on the same files and the same LiteRT."""

import functools
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import ImageCms

from rnan_tf.export.tflite import exporting
from rnan_tf.export.tflite.quantization import DYNAMIC, quantize
from rnan_tf.photos.photo import Photo, read_photo, write_photo
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.task import get_task
from tests.conftest import ROOT
from tests.helpers import tiling_vectors
from tests.helpers.missing import skip_or_fail
from tests.helpers.tflite_networks import LITE, TILE, random_model

pytestmark = pytest.mark.slow

INSTALL = (
    "export/native needs a compiler, CMake and two libraries: apt-get install g++ cmake libpng-dev nlohmann-json3-dev"
)
NETWORKS = {
    "denoise": {**LITE, "conditional": True},
    "denoise-gray": {**LITE, "channels": 1, "conditional": True},
    "demosaic": LITE,
    "jpeg": {**LITE, "channels": 1},
    "sr-x2": {**LITE, "scale": 2},
}


def build(folder, *options):
    """Compile it, warnings being errors, against the library of the Python package."""
    import ai_edge_litert

    headers = ["c++", "-fsyntax-only", "-include", "png.h", "-include", "nlohmann/json.hpp", "-x", "c++", "/dev/null"]
    if not shutil.which("cmake") or not shutil.which("c++") or subprocess.run(headers, capture_output=True).returncode:
        skip_or_fail(INSTALL)
    litert = Path(ai_edge_litert.__file__).parent
    for command in (
        ["cmake", "-S", ROOT / "export/native", "-B", folder, f"-DLITERT={litert}", *options],
        ["cmake", "--build", folder],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file of a small network of random weights, by its task."""
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def export(task):
        path = folder / f"{task}.tflite"
        path.write_bytes(file_of(task, random_model(task, **NETWORKS[task])))
        return path

    return export


def file_of(task, model):
    strengths = get_task(task).strength.limits if get_task(task).strength else (0, 0)
    card = ModelCard.of_task(get_task(task), strengths, model.conditional, tile=TILE, overlap=4)
    return exporting.add_card(exporting.convert(model, TILE), card)


def run(built, *arguments):
    return subprocess.run([built / "rnan_restore", *map(str, arguments)], capture_output=True, text=True)


def photograph(channels, dtype=np.uint8, alpha=False):
    """37 x 45 pixels: several tiles, and no multiple of 4."""
    pixels = skimage.data.astronaut()[100:137, 150:195, :channels].astype(dtype) * (257 if dtype == np.uint16 else 1)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Photo(pixels, pixels[..., 0] // 2, profile, "PNG") if alpha else Photo(pixels, None, None, "PNG")


def test_tiling_is_that_of_python(built):
    done = subprocess.run([built / "tiling_test", tiling_vectors.FILE], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == f"{len(tiling_vectors.AXES)} axes, {len(tiling_vectors.IMAGES)} images, 0 wrong\n"


class TestPixels:
    """They are Python's, bit by bit: the same LiteRT, and every sum in the same order."""

    def compare(self, built, model, photo, folder, **strength):
        write_photo(folder / "in.png", photo)
        done = run(built, model, folder / "in.png", folder / "out.png", *strength.values())
        assert (done.returncode, done.stderr) == (0, "")
        expected, actual = Restorer.from_preset(model)(photo, **strength), read_photo(folder / "out.png")
        assert len(np.unique(expected.pixels)) > 30
        np.testing.assert_array_equal(actual.pixels, expected.pixels)
        return expected, actual

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("task", NETWORKS)
    def test_every_task_on_gray_and_colour(self, built, exported, tmp_path, task, channels):
        photo = photograph(channels)
        if task == "demosaic" and channels == 3:
            photo = replace(photo, pixels=get_task(task).degrade(photo.pixels, (0, 0)))
        strength = {"sigma": 20.5} if task.startswith("denoise") else {}
        self.compare(built, exported(task), photo, tmp_path, **strength)

    def test_the_strength_is_used(self, built, exported, tmp_path):
        path, photo = exported("denoise"), photograph(3)
        outputs = [self.compare(built, path, photo, tmp_path, sigma=sigma)[1].pixels for sigma in (0, 75)]
        assert np.any(outputs[0] != outputs[1])

    def test_16_bits(self, built, exported, tmp_path):
        assert self.compare(built, exported("sr-x2"), photograph(3, np.uint16), tmp_path)[1].pixels.dtype == np.uint16

    def test_transparency_and_colour_profile_are_kept(self, built, exported, tmp_path):
        photo = photograph(3, alpha=True)
        _, actual = self.compare(built, exported("denoise"), photo, tmp_path, sigma=10)
        np.testing.assert_array_equal(actual.alpha, photo.alpha)
        assert actual.icc_profile == photo.icc_profile

    def test_int8(self, built, exported, tmp_path):
        path = tmp_path / "int8.tflite"
        path.write_bytes(quantize(exported("denoise").read_bytes(), DYNAMIC, ()))
        self.compare(built, path, photograph(3), tmp_path, sigma=30)

    def test_a_bundled_network(self, built, tmp_path):
        restorer = Restorer.from_preset("denoise")
        card = replace(restorer.card, tile=96, overlap=16)
        path = tmp_path / "denoise.tflite"
        path.write_bytes(exporting.add_card(exporting.convert(restorer.runtime.model, 96), card))
        noisy = restorer.task.degrade(skimage.data.astronaut()[:150, 150:330], (0, 0), 25)
        self.compare(built, path, replace(photograph(3), pixels=noisy), tmp_path, sigma=25)


class TestWrongUse:
    """One line, and exit code 2; 1 for a job that failed. Nothing is written."""

    @pytest.fixture
    def files(self, exported, tmp_path):
        from ai_edge_litert import schema_py_generated as schema

        content = exported("denoise").read_bytes()
        half = len(content) // 2
        write_photo(tmp_path / "in.png", photograph(3))
        write_photo(tmp_path / "alpha.png", photograph(3, alpha=True))
        png = (tmp_path / "in.png").read_bytes()
        sr = ModelCard.of_task(get_task("sr-x2"), (0, 0), False, tile=TILE, overlap=4)
        named = {
            "cut.tflite": content[:half],
            "short.tflite": content[:7],
            "text.tflite": b"nothing that is a model",
            "foreign.tflite": content.replace(b"rnan_tf", b"another"),
            "number.tflite": content.replace(b'"scale": 1, ', b'"scale":1.0,'),
            "json.tflite": content.replace(b'{"task"', b'["task"'),
            "other.tflite": exporting.add_card(content.replace(b"rnan_tf", b"another"), sr),
            "tile.tflite": content.replace(b'"tile": 16', b'"tile": 32'),
            "cut.png": png[: len(png) // 2],
            "text.png": b"nothing that is an image",
        }
        assert schema.Model.GetRootAsModel(named["foreign.tflite"], 0).MetadataLength()
        for name, data in named.items():
            (tmp_path / name).write_bytes(data)
        return tmp_path

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ("", "usage: rnan_restore MODEL.tflite IN.png OUT.png [STRENGTH]"),
            ("none.tflite in.png out.png", "none.tflite: no such model"),
            ("cut.tflite in.png out.png 5", "cut.tflite: cannot be loaded (LiteRT failed with status 501)"),
            ("short.tflite in.png out.png 5", "short.tflite: is no TFLite file"),
            ("text.tflite in.png out.png 5", "text.tflite: is no TFLite file"),
            ("foreign.tflite in.png out.png 5", "foreign.tflite: does not say what it is for"),
            ("json.tflite in.png out.png 5", "json.tflite: its metadata rnan_tf is damaged"),
            (
                "number.tflite in.png out.png 5",
                "number.tflite: its metadata rnan_tf has sizes that are no whole",
            ),
            ("other.tflite in.png out.png", "other.tflite: has other inputs and outputs than its metadata says"),
            ("tile.tflite in.png out.png 5", "tile.tflite: has other inputs and outputs than its metadata says"),
            ("DENOISE none.png out.png 5", "none.png: cannot be opened"),
            ("DENOISE text.png out.png 5", "text.png: cannot be read as PNG (Not a PNG file)"),
            ("DENOISE cut.png out.png 5", "cut.png: cannot be read as PNG"),
            ("DENOISE in.png out.png", "denoise.tflite: is told the strength; give sigma 0 to 75"),
            ("DENOISE in.png out.png 76", "denoise.tflite: trained for sigma 0 to 75; give such"),
            ("DENOISE in.png out.png nan", "denoise.tflite: trained for sigma 0 to 75; give such"),
            ("DENOISE in.png out.png much", "the strength must be a number; got much"),
            ("JPEG in.png out.png 10", "jpeg.tflite: is not told the quality; leave it out"),
            ("SR in.png out.png 2", "sr-x2.tflite: task sr-x2 has no strength; leave it out"),
            ("SR alpha.png out.png", "alpha.png: has transparency"),
            ("DEMOSAIC in.png out.png", "in.png: is not a GRBG mosaic"),
        ],
    )
    def test_is_one_line(self, built, exported, files, arguments, message):
        names = {"DENOISE": "denoise", "JPEG": "jpeg", "SR": "sr-x2", "DEMOSAIC": "demosaic"}
        words = arguments.split()
        if words and words[0] in names:
            words[0] = exported(names[words[0]])
        before = sorted(files.iterdir())
        done = subprocess.run([built / "rnan_restore", *words], capture_output=True, text=True, cwd=files)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and message in line
        assert sorted(files.iterdir()) == before and not done.stdout

    def test_a_place_that_cannot_be_written_to(self, built, exported, files):
        done = run(built, exported("denoise"), files / "in.png", files / "none" / "out.png", 5)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.endswith("none/out.png: cannot be written; check its folder")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(built, tmp_path, value):
    model = random_model("jpeg", **NETWORKS["jpeg"])
    bias = model.get_layer("tail").weights[-1]
    bias.assign(np.full(bias.shape, value))
    (tmp_path / "broken.tflite").write_bytes(file_of("jpeg", model))
    write_photo(tmp_path / "in.png", photograph(1))
    done = run(built, tmp_path / "broken.tflite", tmp_path / "in.png", tmp_path / "out.png")
    assert done.returncode == 1 and not (tmp_path / "out.png").exists()
    (line,) = done.stderr.splitlines()
    assert line.endswith("the network gives NaN or infinity; the model or its weights are broken")


@pytest.mark.usefixtures("built")
def test_the_documentation_compiles():
    code = re.search(r"```cpp\n(.*?)```", (ROOT / "docs/mobile.md").read_text(), re.DOTALL)[1]
    compiler = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run([*compiler, "-I", ROOT / "export/native"], input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sanitizers_find_nothing(exported, tmp_path):
    """AddressSanitizer, its leak check and UndefinedBehaviorSanitizer, on good and on bad files."""
    built = build(tmp_path / "build", "-DSANITIZE=ON")
    write_photo(tmp_path / "rgb.png", photograph(3, np.uint16, alpha=True))
    write_photo(tmp_path / "gray.png", photograph(1))
    (tmp_path / "cut.tflite").write_bytes(exported("denoise").read_bytes()[:5000])
    (tmp_path / "cut.png").write_bytes((tmp_path / "rgb.png").read_bytes()[:500])
    out = tmp_path / "out.png"
    for code, arguments in (
        (0, (exported("denoise"), tmp_path / "rgb.png", out, 20)),
        (0, (exported("jpeg"), tmp_path / "rgb.png", out)),
        (0, (exported("sr-x2"), tmp_path / "gray.png", out)),
        (0, (exported("demosaic"), tmp_path / "gray.png", out)),
        (2, (tmp_path / "cut.tflite", tmp_path / "gray.png", out)),
        (2, (exported("denoise"), tmp_path / "cut.png", out, 20)),
    ):
        done = run(built, *arguments)
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == (code == 2), done.stderr
    done = subprocess.run([built / "tiling_test", tiling_vectors.FILE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
