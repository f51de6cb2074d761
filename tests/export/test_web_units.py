"""export/web without a browser: tiling, the noise's estimate and files' headers are those of Python."""

import json
import subprocess

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from rnan_tf.photos.jpeg_coding import read_jpeg_coding
from rnan_tf.photos.noise import estimate_noise, measure_noise
from rnan_tf.photos.photo import write_photo
from tests.conftest import ROOT
from tests.helpers import web_page
from tests.helpers.tiling_vectors import FILE

pytestmark = pytest.mark.slow

PHOTO = skimage.data.astronaut()[:200, 100:331]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noisy(pixels, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.rint(np.clip(pixels + noise, 0, 255)).astype(np.uint8)


NOISES = {
    "clean": PHOTO,
    "noisy": noisy(PHOTO, 20),
    "gray": noisy(skimage.data.camera()[:130, :129, None], 10),
    "texture": skimage.data.grass()[:128, :192, None],
    "flat": np.full((70, 80, 3), 7, np.uint8),
    "white sky": np.concatenate(
        [np.full((70, 129, 3), 255, np.uint8), noisy(skimage.data.astronaut()[:140, :129], 20)]
    ),
    "mostly white": np.pad(noisy(PHOTO[:64, :64], 20), ((0, 192), (0, 192), (0, 0)), constant_values=255),
    "thin": noisy(PHOTO[:3], 20),
    "narrow": noisy(PHOTO[:, :5], 20),
    "a pixel": PHOTO[:1, :1],
}


def save_files(folder):
    """Name -> what its header must say."""
    rgb, gray = Image.fromarray(PHOTO), Image.fromarray(PHOTO[..., 1])
    write_photo(folder / "16.png", PHOTO.astype(np.uint16) * 257)
    gray.save(folder / "gray.png")
    rgb.quantize(16).save(folder / "palette.png")
    rgb.save(folder / "profile.png", icc_profile=PROFILE)
    rgb.save(folder / "profile.jpg", icc_profile=PROFILE, quality=30)
    gray.save(folder / "gray.jpg", quality=71)
    rgb.save(folder / "own.jpg", qtables=[[3] * 64, [40] * 64])
    rgb.save(folder / "lossy.webp")
    rgb.save(folder / "lossless.webp", lossless=True)
    rgb.save(folder / "profile.webp", icc_profile=PROFILE)
    for name in ("plain.gif", "plain.bmp", "plain.avif"):
        rgb.save(folder / name)
    (folder / "cut.png").write_bytes((folder / "gray.png").read_bytes()[:20])
    (folder / "text.txt").write_text("nothing that is an image")
    plain = {"pixels": 200 * 231, "gray": False, "bits": 8, "profile": False}
    return {
        "16.png": {**plain, "format": "PNG", "bits": 16},
        "gray.png": {**plain, "format": "PNG", "gray": True},
        "palette.png": {**plain, "format": "PNG", "bits": 4},
        "profile.png": {**plain, "format": "PNG", "profile": True},
        "profile.jpg": {**plain, "format": "JPEG", "profile": True},
        "gray.jpg": {**plain, "format": "JPEG", "gray": True},
        "own.jpg": {**plain, "format": "JPEG"},
        "lossy.webp": {**plain, "format": "WebP"},
        "lossless.webp": {**plain, "format": "WebP"},
        "profile.webp": {**plain, "format": "WebP", "profile": True},
        "plain.gif": {**plain, "format": "GIF"},
        "plain.bmp": {**plain, "format": "BMP"},
        "plain.avif": {**plain, "format": "AVIF"},
        "text.txt": {**plain, "format": None, "pixels": 0},
        "cut.png": {**plain, "format": "PNG", "pixels": 0} | {"format": None},
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(tiling.json, files' expected headers, their folder, what TypeScript says)."""
    folder = tmp_path_factory.mktemp("units")
    web_page.run_tool("vite", "build", "--ssr", ROOT / "tests/helpers/web_units.ts", "--outDir", folder / "bundle")
    (bundle,) = (folder / "bundle").glob("**/web_units*.js")
    vectors, expected = json.loads(FILE.read_text()), save_files(folder)
    noises = [
        {**dict(zip(("height", "width", "channels"), pixels.shape, strict=True)), "pixels": pixels.ravel().tolist()}
        for pixels in NOISES.values()
    ]
    asked = {**vectors, "noises": noises, "files": [str(folder / name) for name in expected]}
    command = ["node", ROOT / "tests/helpers/web_units.mjs", bundle]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return vectors, expected, folder, json.loads(done.stdout)


def test_axes(answers):
    vectors, *_, told = answers
    for axis, answer in zip(vectors["axes"], told["axes"], strict=True):
        assert answer["starts"] == axis["starts"]
        np.testing.assert_array_equal(np.float32(answer["weights"]), np.float32(axis["weights"]))


def test_values_that_are_not_finite_are_named(answers):
    *_, told = answers
    broken = "the network's values are not finite; choose the processor to compute"
    assert told["broken"] == [broken, broken, 255]


def test_errors_are_lines_that_say_what_to_do(answers):
    memory = "there is too little memory for this; close other tabs, or take a smaller photograph"
    other = "that failed (something else); load the page again"
    assert answers[-1]["errors"] == [memory, memory, memory, "this is no photograph", other]


def test_images(answers):
    vectors, *_, told = answers
    for image, answer in zip(vectors["images"], told["images"], strict=True):
        assert answer["restored"] == image["restored"]
        ends = [0, *(end for _, end in answer["rows"])]
        assert [first for first, _ in answer["rows"]] == ends[:-1]  # each row is shown once
        assert ends[-1] == image["height"] * image["scale"]


def test_noise(answers):
    for (name, pixels), found in zip(NOISES.items(), answers[-1]["noises"], strict=True):
        assert found["sigma"] == pytest.approx(estimate_noise(pixels), rel=1e-4, abs=1e-4), name
        assert found["visible"] == pytest.approx(measure_noise(pixels).visible, rel=1e-4, abs=1e-4), name
    assert sum(found["visible"] > 3 for found in answers[-1]["noises"]) == 3


def test_headers(answers):
    _, expected, folder, told = answers
    for (name, header), found in zip(expected.items(), told["headers"], strict=True):
        assert {key: found[key] for key in header} == header, name
        if name.endswith(".jpg"):
            assert found["quality"] == read_jpeg_coding(Image.open(folder / name)).quality, name
        else:
            assert found["quality"] is None
