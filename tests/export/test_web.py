"""export/web: what the page restores in Debian's Chromium is what `restore --fast` writes."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from rnan_tf.cli import main
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import Photo, read_photo, write_photo
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.metrics import psnr
from rnan_tf.weights import list_presets
from tests.helpers import web_page
from tests.helpers.image_samples import png_chunk

pytestmark = pytest.mark.slow

CLEAN = skimage.data.astronaut()[60:164, 150:270]  # 104 x 120: four tiles of 96
GRAY = skimage.data.camera()[60:164, 200:320]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Where the screenshots go that a person looks at.
LOOKED_AT = os.environ.get("SCREENSHOTS")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return web_page.build(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def url(page):
    with web_page.serving(page) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with web_page.browser() as browser:
        yield browser


def noisy(pixels, sigma=30):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.rint(np.clip(pixels + noise, 0, 255)).astype(np.uint8)


def mosaic(pixels, pattern="GRBG"):
    """RGB whose unsampled values are zero."""
    sampled = np.zeros_like(pixels)
    for (y, x), colour in zip(np.ndindex(2, 2), pattern, strict=True):
        sampled[y::2, x::2, "RGB".index(colour)] = pixels[y::2, x::2, "RGB".index(colour)]
    return sampled


def spoilt(task, folder):
    """The file of a photograph that needs a task."""
    if task.startswith("jpeg"):
        Image.fromarray(CLEAN).save(folder / "photo.jpg", quality=20)
        return folder / "photo.jpg"
    kinds = {"denoise": noisy(CLEAN), "denoise-gray": noisy(GRAY), "demosaic": mosaic(CLEAN)}
    write_photo(folder / "photo.png", kinds.get(task, CLEAN[:40, :48]))
    return folder / "photo.png"


def compare(browser, url, file, task, folder, *options, **choices):
    """Restore a file both ways; 99.9 % of the values must be within a level. The page writes gray as RGB."""
    named = ["--model", "jpeg"] if task == "jpeg" else ["--task", task]
    target = folder / "expected.png"
    assert main(["restore", str(file), "-o", str(target), "--fast", *named, *options]) == 0
    done = browser.do("restore", url, file=file, task=task, target=folder / "actual.png", **choices)
    assert (done["problem"], done["name"]) == ("", f"{file.stem}-restored.png")
    actual, expected = np.asarray(Image.open(folder / "actual.png")), read_photo(target)
    differences = np.abs(actual[..., :3].astype(int) - expected.pixels)
    if expected.alpha is not None:  # canvases do not keep the colours of what is transparent
        differences = differences[expected.alpha == 255]
    assert np.mean(differences <= 1) >= 0.999
    given = read_photo(file).pixels
    assert given.shape != expected.pixels.shape or np.abs(given.astype(int) - expected.pixels).mean() > 0.5
    return done, actual


class TestPixels:
    @pytest.mark.parametrize("task", list_presets())
    def test_every_preset(self, browser, url, tmp_path, task):
        file = spoilt(task, tmp_path)
        done, _ = compare(browser, url, file, task, tmp_path)
        assert "ms each, on the processor" in done["message"]
        if task.startswith("denoise"):
            assert done["proposed"] == task
            assert float(done["found"]["value"]) == pytest.approx(estimate_noise(read_photo(file).pixels), abs=0.051)
            assert done["found"]["source"] == "estimated"
        if task.startswith("jpeg"):
            assert done["proposed"] == "jpeg-color"
        if task == "jpeg-color":
            assert done["found"] == {"value": "20", "source": "by the file's tables"}

    def test_strength_by_hand_and_blending(self, browser, url, tmp_path):
        file = spoilt("denoise", tmp_path)
        compare(browser, url, file, "denoise", tmp_path, "--sigma", "12", "--blend", "0.5", strength=12, blend=50)

    def test_blending_with_an_enlargement_and_transparency(self, browser, url, tmp_path):
        alpha, pixels, file = np.full((40, 48), 255, np.uint8), CLEAN[:40, :48].copy(), tmp_path / "alpha.png"
        alpha[:20] = pixels[:20] = 0  # black, as the page sees whatever is transparent
        write_photo(file, Photo(pixels, alpha, None, "PNG"))
        _, actual = compare(browser, url, file, "sr-x2", tmp_path, "--blend", "0.25", blend=25)
        assert np.abs(actual[..., 3].astype(int) - read_photo(tmp_path / "expected.png").alpha).max() <= 1

    def test_a_gray_photograph_through_a_colour_network(self, browser, url, tmp_path):
        write_photo(tmp_path / "gray.png", noisy(GRAY[:80, :90]))
        compare(browser, url, tmp_path / "gray.png", "denoise", tmp_path)

    def test_colour_through_a_gray_network(self, browser, url, tmp_path):
        write_photo(tmp_path / "rgb.png", noisy(CLEAN[:80, :90]))
        compare(browser, url, tmp_path / "rgb.png", "denoise-gray", tmp_path)

    def test_a_mosaic_of_another_phase(self, browser, url, tmp_path):
        write_photo(tmp_path / "bayer.png", mosaic(CLEAN, "BGGR").max(axis=2, keepdims=True))
        compare(browser, url, tmp_path / "bayer.png", "demosaic", tmp_path, "--cfa", "BGGR", pattern="BGGR")

    def test_an_upright_photograph(self, browser, url, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(CLEAN[:60, :90]).save(tmp_path / "turned.jpg", quality=30, exif=exif)
        done, actual = compare(browser, url, tmp_path / "turned.jpg", "jpeg-color", tmp_path)
        assert actual.shape[:2] == (90, 60) and done["said"].startswith("60 \N{MULTIPLICATION SIGN} 90")


class TestFiles:
    def test_what_was_changed_is_said(self, browser, url, tmp_path):
        write_photo(tmp_path / "16.png", noisy(CLEAN).astype(np.uint16) * 257)
        Image.fromarray(CLEAN).save(tmp_path / "profile.png", icc_profile=PROFILE)
        assert "16 bits a channel were reduced to 8" in browser.do("open", url, file=tmp_path / "16.png")["message"]
        told = browser.do("open", url, file=tmp_path / "profile.png")
        assert "from its profile to sRGB" in told["message"] and told["problem"] == ""
        assert "it needs nothing: it is no JPEG and shows no noise" in told["message"]

    def test_a_photograph_may_be_pasted(self, browser, url, tmp_path):
        assert browser.do("open", url, file=spoilt("denoise", tmp_path), way="paste")["proposed"] == "denoise"

    @pytest.mark.parametrize("sample, proposed", [("noisy", "denoise"), ("blocky", "jpeg-color")])
    def test_a_sample_needs_what_its_name_says(self, browser, url, sample, proposed):
        assert browser.do("open", url, sample=sample)["proposed"] == proposed

    @pytest.mark.parametrize(
        "name, content, problem",
        [
            ("text.jpg", b"nothing that is an image", "This is no image that the browser can read"),
            ("empty.png", b"", "The file is empty"),
            ("cut.png", "cut", "This is no image that the browser can read, or it is damaged"),
            ("large.png", "large", "The photograph has 900 Mpixel, over this page's 25 Mpixel; shrink it"),
        ],
    )
    def test_a_bad_one_is_a_line(self, browser, url, tmp_path, name, content, problem):
        write_photo(tmp_path / "whole.png", CLEAN)
        header = (30000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        made = {
            "cut": (tmp_path / "whole.png").read_bytes()[:200],
            "large": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b""),
        }
        (tmp_path / name).write_bytes(made.get(content, content))
        told = browser.do("open", url, file=tmp_path / name)
        assert told["problem"].startswith(problem) and told["message"] == ""

    def test_results_that_would_be_too_large_are_not_offered(self, browser, url, tmp_path):
        Image.new("L", (1500, 1250), 90).save(tmp_path / "large.png")
        assert browser.do("open", url, file=tmp_path / "large.png")["refused"] == ["sr-x4"]


class TestBrowser:
    @pytest.mark.parametrize(
        "lacks, problem",
        [
            ("WebAssembly.validate = () => false", "This browser has no WebAssembly SIMD"),
            ("delete window.OffscreenCanvas", "This browser cannot work on pictures in the background"),
        ],
    )
    def test_what_it_lacks_is_a_line(self, browser, url, lacks, problem):
        assert browser.do("open", url, lacks=lacks)["problem"].startswith(problem)

    def test_a_network_that_is_damaged_is_a_line(self, browser, page, tmp_path):
        shutil.copytree(page, tmp_path / "page")
        (tmp_path / "page/networks/denoise-int8.tflite").write_bytes(b"another network")
        file = spoilt("denoise", tmp_path)
        with web_page.serving(tmp_path / "page") as url:
            problem = browser.do("restore", url, file=file)["problem"]
        assert problem == "The network networks/denoise-int8.tflite is damaged or another one; load the page again."

    def test_without_the_headers_there_is_one_thread(self, browser, page, tmp_path):
        shutil.copytree(page, tmp_path / "page")
        (tmp_path / "page/headers.json").write_text("{}")
        with web_page.serving(tmp_path / "page") as url:
            done, _ = compare(browser, url, spoilt("denoise", tmp_path), "denoise", tmp_path)
        assert "on the processor, 1 thread" in done["message"]

    def test_it_works_offline_after_the_first_visit(self, browser, page, tmp_path):
        write_photo(tmp_path / "small.png", noisy(CLEAN[:64, :64]))
        with web_page.serving(page) as url:
            first = browser.do("restore", url, file=tmp_path / "small.png", target=tmp_path / "first.png")
        second = browser.do("again", url, file=tmp_path / "small.png", target=tmp_path / "second.png")
        assert (first["problem"], second["problem"]) == ("", "")
        assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()

    def test_24_megapixels_are_opened_and_cancelled(self, browser, url, tmp_path):
        large = np.tile(noisy(skimage.data.astronaut()[:500, :500], 20), (8, 12, 1))
        Image.fromarray(large).save(tmp_path / "large.jpg", quality=95)
        done = browser.do("cancel", url, file=tmp_path / "large.jpg", task="denoise", tiles=3)
        assert done["said"].startswith("6000 \N{MULTIPLICATION SIGN} 4000 pixels")
        tiling = Restorer.from_preset("denoise", fast=True).tiling()
        count = np.prod([-(-(side - tiling.overlap) // (tiling.tile - tiling.overlap)) for side in (6000, 4000)])
        assert f"of {count} tiles" in done["eta"] and "to go" in done["eta"]
        assert done["problem"] == "Cancelled." and done["again"]
        assert done["gap"] < 3000  # ms in which the page did not answer; it draws 24 Mpixel twice


class TestPage:
    """The page itself; with SCREENSHOTS=FOLDER the pictures are kept, to be looked at."""

    @pytest.mark.parametrize(
        "name, stage, theme, width, height",
        [
            ("start-light", "start", "light", 1280, 800),
            ("start-dark-phone", "start", "dark", 390, 844),
            ("restored-light-phone", "restored", "light", 390, 844),
            ("restored-dark", "restored", "dark", 1280, 800),
        ],
    )
    def test_axe_finds_nothing_serious(self, browser, url, tmp_path, name, stage, theme, width, height):
        target = Path(LOOKED_AT or tmp_path) / f"{name}.png"
        sizes = {"width": width, "height": height}
        file = spoilt("denoise", tmp_path)
        told = browser.do("look", url, stage=stage, theme=theme, target=target, file=file, **sizes)
        assert [fault for fault in told["faults"] if fault[1] in ("serious", "critical")] == []
        assert not told["wide"]  # nothing sticks out to the side
        assert np.asarray(Image.open(target)).std() > 5

    def test_keys_suffice(self, browser, url, tmp_path):
        done = browser.do("keys", url, file=spoilt("sr-x2", tmp_path))
        assert (done["divided"], done["pixels"]) == ("40", "100 %")
        assert int(done["dragged"]) > 45
        assert int(done["zoomed"].removesuffix(" %")) > 400
        before, after = done["places"]
        assert before == pytest.approx(after, abs=0.01)


class TestWebGpu:
    """On SwiftShader, where a tile takes half a minute."""

    @pytest.fixture(scope="class")
    def gpu(self, page, tmp_path_factory):
        """(Chromium with WebGPU, the address of a page with a float16 network, the preset's Keras network)."""
        from rnan_tf.export.tflite import exporting
        from rnan_tf.export.tflite.quantization import FLOAT16, quantize

        restorer = Restorer.from_preset("denoise")
        card = replace(restorer.card, tile=96, overlap=16)
        content = quantize(exporting.add_card(exporting.convert(restorer.runtime.model, 96), card), FLOAT16, ())
        copy = shutil.copytree(page, tmp_path_factory.mktemp("gpu") / "page")
        web_page.add_float16(copy, "denoise", content)
        with web_page.serving(copy) as url, web_page.browser(gpu=True) as browser:
            yield browser, url, restorer

    def test_a_tile_is_that_of_the_processor(self, gpu, tmp_path):
        (browser, url, restorer), clean = gpu, skimage.data.astronaut()[60:156, 150:246]
        file = tmp_path / "tile.png"
        write_photo(file, noisy(clean))
        expected = restorer(read_photo(file), sigma=30).pixels
        done = browser.do("restore", url, file=file, strength=30, compute="webgpu", target=tmp_path / "actual.png")
        assert done["problem"] == "" and "1 tile," in done["message"] and "the graphics processor" in done["message"]
        actual = np.asarray(Image.open(tmp_path / "actual.png").convert("RGB"))
        assert psnr(actual, clean) == pytest.approx(psnr(expected, clean), abs=0.05)
        assert psnr(actual, clean) > psnr(noisy(clean), clean) + 5

    def test_a_graphics_processor_that_is_lost_is_a_line(self, gpu, tmp_path):
        browser, url, _ = gpu
        done = browser.do("lose", url, file=spoilt("denoise", tmp_path))
        assert done["problem"].startswith("The graphics processor was lost") and done["again"]


def test_lists_name_what_is_there(page):
    listed = json.loads((page / "networks.json").read_text())
    assert list(listed["networks"]) == list_presets()
    for network in listed["networks"].values():
        assert (page / network["int8"]["file"]).stat().st_size == network["int8"]["bytes"]
    assert all((page / sample["file"]).is_file() for sample in listed["samples"])
