"""export/web: what the page restores in Debian's Chromium is what `restore --fast` writes."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from rnan_tf.cli import main
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import read_photo, write_photo
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import list_presets
from tests.helpers import web_page

pytestmark = pytest.mark.slow

CLEAN = skimage.data.astronaut()[60:164, 150:270]  # 104 x 120: four tiles of 96, and more of 64
GRAY = skimage.data.camera()[60:164, 200:320]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return web_page.build(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def url(page):
    with web_page.serving(page) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    browser = web_page.Browser()
    yield browser
    browser.close()


def degraded(task, folder, clean=CLEAN):
    """The file of a photograph that needs a task."""
    if task.startswith("jpeg"):
        Image.fromarray(clean).save(folder / "photo.jpg", quality=20)
        return folder / "photo.jpg"
    kind = get_task(task)
    small = clean[:40, :48] if kind.scale > 1 else clean
    pixels = small if kind.scale > 1 else kind.degrade(kind.clean(small), (0, 0), 30)
    write_photo(folder / "photo.png", pixels)
    return folder / "photo.png"


def restored_by_python(file, task, target, *options):
    task = ["--model", "jpeg"] if task == "jpeg" else ["--task", task]
    assert main(["restore", str(file), "-o", str(target), "--fast", *task, *options]) == 0
    return read_photo(target).pixels


def assert_equal(target, expected):
    """Within a level for 99.9 % of the values; the page writes gray as RGB."""
    actual = np.asarray(Image.open(target).convert("RGB"))
    expected = np.broadcast_to(expected, actual.shape)
    assert np.mean(np.abs(actual.astype(int) - expected) <= 1) >= 0.999
    assert np.abs(actual.astype(int) - expected).max() <= 4


def compare(browser, url, file, task, folder, options=(), **choices):
    expected = restored_by_python(file, task, folder / "expected.png", *options)
    done = browser.do("restore", url, file=file, task=task, target=folder / "actual.png", **choices)
    assert done["problem"] == "" and done["name"] == f"{file.stem}-restored.png"
    assert_equal(folder / "actual.png", expected)
    assert np.any(expected != read_photo(file).pixels) or len(expected) != len(read_photo(file).pixels)
    return done


class TestPixels:
    @pytest.mark.parametrize("task", list_presets())
    def test_every_preset(self, browser, url, tmp_path, task):
        done = compare(browser, url, degraded(task, tmp_path), task, tmp_path)
        assert "tiles" in done["message"] and "processor" in done["message"]
