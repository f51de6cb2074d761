"""rnan_tf.restoring.restorer: one object, and one function, that restore; the command line is the oracle."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import skimage.data

import rnan_tf
from rnan_tf.errors import InputError, JobError
from rnan_tf.photos.photo import as_photo, write_photo
from rnan_tf.restoring.choosing import preset_of
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.task import TASKS
from rnan_tf.weights import read_manifest
from tests.helpers.command_line import MODELS, RGB, save, to16
from tests.helpers.quick import quick


@pytest.fixture(scope="module")
def restorers(models):
    return {name: rnan_tf.Restorer.from_preset(models / f"{name}.keras") for name in MODELS}


@pytest.mark.parametrize("name", quick(["denoise", "jpeg-color", "sr-x3"], MODELS))
def test_it_restores_as_the_command_does(name, restorers, rnan_tf, workplace):
    import rnan_tf as library

    image = RGB[..., 1] if name in ("demosaic", "denoise-gray") else RGB
    save("a.png", image)
    for options, flags in (
        ({}, ""),
        ({"self_ensemble": True, "tile": 16, "overlap": 4}, "--self-ensemble --tile 16 --overlap 4"),
    ):
        assert rnan_tf(f"restore a.png -o b.png --model M/{name}.keras {flags}")[0] == 0
        expected = library.read_photo("b.png").pixels
        restored = restorers[name](image, **options)
        np.testing.assert_array_equal(restored.reshape(expected.shape), expected)
        np.testing.assert_array_equal(restorers[name]("a.png", **options).pixels, expected)


def test_an_array_gives_an_array_a_photo_a_photo(restorers):
    gray = restorers["denoise-gray"](to16(RGB[..., 0]))
    assert (gray.shape, gray.dtype) == (RGB.shape[:2], np.uint16)
    assert restorers["sr-x2"](RGB).shape == (62, 74, 3)
    photo = rnan_tf.Photo(RGB, np.full(RGB.shape[:2], 7, np.uint8), None, "PNG")
    restored = restorers["denoise"](photo, sigma=30)
    assert isinstance(restored, rnan_tf.Photo)
    np.testing.assert_array_equal(restored.alpha, photo.alpha)


def test_the_strength_matters_and_is_estimated_where_it_is_left_out(restorers):
    restorer = restorers["denoise"]
    noise = np.random.default_rng(0).normal(0, 25, RGB.shape)
    noisy = np.clip(np.tile(RGB, (3, 3, 1)) + np.tile(noise, (3, 3, 1)), 0, 255).astype(np.uint8)
    sigma, of_photo, doubt = restorer.find_strength(as_photo(noisy))
    assert of_photo and not doubt
    assert 15 < sigma < 35
    np.testing.assert_array_equal(restorer(noisy), restorer(noisy, sigma=sigma))
    assert (restorer(noisy) != restorer(noisy, sigma=60)).any()


def test_the_card(restorers):
    card = restorers["denoise"].card
    assert (card.task, card.strength, card.strengths, card.scale, card.tile) == ("denoise", "sigma", (5, 60), 1, None)
    assert rnan_tf.ModelCard.from_dict(card.to_dict()) == card
    assert restorers["jpeg"].card.strength == "quality" and not restorers["jpeg"].card.conditional
    assert restorers["demosaic"].card.strengths is None and restorers["demosaic"].card.details["steps"] == 12
    assert (restorers["sr-x2"].card.scale, restorers["sr-x2"].card.strength) == (2, None)


def test_a_jpeg_has_its_quality_and_a_default(restorers):
    restorer = restorers["jpeg-color"]
    np.testing.assert_array_equal(restorer(RGB), restorer(RGB, quality=10))
    assert (restorer(RGB) != restorer(RGB, quality=90)).any()
    assert restorer.estimates and restorer.default_strength == 10
    assert restorer.find_strength(as_photo(RGB)) == (10, False, "")


@pytest.mark.parametrize(
    ("name", "default", "estimates"),
    [
        ("denoise", 50, True),
        ("denoise-gray", 30, False),
        ("jpeg", 10, False),
        ("demosaic", 0, False),
        ("sr-x2", 0, False),
    ],
)
def test_the_strength_where_none_is_given(restorers, name, default, estimates):
    restorer = restorers[name]
    assert (restorer.default_strength, restorer.estimates) == (default, estimates)
    if not estimates:
        assert restorer.find_strength(as_photo(RGB)) == (default, False, "")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("demosaic", {"sigma": 25}, "task demosaic has no sigma; leave `sigma` out"),
        ("sr-x2", {"quality": 25}, "task sr-x2 has no quality; leave `quality` out"),
        ("denoise", {"quality": 30}, "task denoise has no quality; leave `quality` out"),
        ("jpeg-color", {"sigma": 30}, "task jpeg-color has no sigma; leave `sigma` out"),
        ("denoise", {"sigma": 75}, "trained for sigma 5 to 60, not 75; give such a `sigma` or another model"),
        ("denoise", {"sigma": float("nan")}, "trained for sigma 5 to 60, not nan"),
        ("denoise", {"sigma": np.array([[10, 61]])}, "trained for sigma 5 to 60, not 61"),
        ("denoise", {"sigma": np.array([10, 20])}, r"`sigma` must be a number, or an array \(rows, columns\)"),
        ("jpeg-color", {"quality": 96}, "trained for quality 5 to 95, not 96; give such a `quality`"),
        ("jpeg", {"quality": 30}, "is not told the quality; leave `quality` out"),
        ("denoise-gray", {"sigma": 31}, "trained for sigma 30, not 31"),
        ("denoise", {"tile": 18}, r"^`tile` must be a multiple of 4"),
        ("denoise", {"cfa": "GRBG"}, "denoise.keras: restores no mosaics; leave `cfa` out"),
        ("sr-x2", {"cfa": "RGGB"}, "restores no mosaics; leave `cfa` out"),
        ("demosaic", {"cfa": "XTRANS"}, "`cfa` must be one of GRBG, RGGB, BGGR, GBRG; got XTRANS"),
        ("demosaic", {}, "not a GRBG mosaic"),
    ],
)
def test_an_option_that_does_not_fit_is_an_error(name, options, message, restorers):
    with pytest.raises(InputError, match=message):
        restorers[name](RGB, **options)


def test_the_only_strength_may_be_given(restorers):
    gray = RGB[..., 1]
    np.testing.assert_array_equal(restorers["denoise-gray"](gray, sigma=30), restorers["denoise-gray"](gray))


def test_a_task_is_checked_or_told(models):
    with pytest.raises(InputError, match=r"untold\.keras: does not say its task; give `task`"):
        rnan_tf.Restorer.from_preset(models / "untold.keras")
    assert rnan_tf.Restorer.from_preset(models / "untold.keras", "demosaic").task.name == "demosaic"
    with pytest.raises(InputError, match="trained for task jpeg, not denoise-gray; give a model of that task"):
        rnan_tf.Restorer.from_preset(models / "jpeg.keras", "denoise-gray")


@pytest.mark.parametrize("shape", [(5,), (4, 4, 2), (0, 3, 3)])
def test_what_is_no_image_is_an_error(shape, restorers):
    with pytest.raises(InputError, match="shape"):
        restorers["denoise"](np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="uint8 or uint16"):
        restorers["denoise"](np.zeros((8, 8, 3)))


def test_progress(restorers):
    told = []
    restorers["jpeg"](
        np.tile(RGB, (2, 2, 1))[:40, :40], tile=16, overlap=0, progress=lambda *counts: told.append(counts)
    )
    assert told[-1] == (9, 9) and told == sorted(set(told))


def test_one_line_restores_a_file(workplace, models):
    save("a.png", RGB[..., 1])
    photo = rnan_tf.restore("a.png", "b.png", model=models / "demosaic.keras")
    np.testing.assert_array_equal(rnan_tf.read_photo("b.png").pixels, photo.pixels)
    with pytest.raises(InputError, match="unknown task 'sharpen'; choose one of denoise, "):
        rnan_tf.restore("a.png", "c.png", task="sharpen")
    with pytest.raises(InputError, match="no format has the extension"):
        rnan_tf.restore("a.png", "c.xyz", model=models / "demosaic.keras")


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_without_a_task_it_does_what_the_command_does(rnan_tf, workplace, extension):
    import rnan_tf as library

    noise = np.random.default_rng(0).normal(0, 20, (96, 96, 3))
    pixels = np.clip(skimage.data.astronaut()[:96, 200:296] + noise, 0, 255).astype(np.uint8)
    save(f"a.{extension}", pixels)
    assert rnan_tf(f"restore a.{extension} -o b.png --fast")[0] == 0
    photo = library.restore(f"a.{extension}", "c.png", fast=True)
    assert (photo.pixels != library.read_photo(f"a.{extension}").pixels).any()
    np.testing.assert_array_equal(library.read_photo("c.png").pixels, library.read_photo("b.png").pixels)


def test_a_missing_folder_is_made_before_the_computation(workplace, models, monkeypatch):
    monkeypatch.setattr(Restorer, "__call__", lambda *_, **__: pytest.fail("nothing was to be computed"))
    save("a.png")
    (workplace / "file").touch()
    with pytest.raises(JobError, match="file/sub: the folder cannot be made"):
        rnan_tf.restore("a.png", "file/sub/b.png", model=models / "denoise.keras")
    monkeypatch.undo()
    rnan_tf.restore(workplace / "a.png", workplace / "new/sub/b.png", model=models / "denoise.keras")
    assert (workplace / "new/sub/b.png").exists()


def test_what_needs_nothing_comes_back_as_it_is(workplace):
    save("a.png")
    assert rnan_tf.restore(RGB) is RGB
    np.testing.assert_array_equal(rnan_tf.restore("a.png", "b.png").pixels, RGB)
    assert not (workplace / "b.png").exists()


@pytest.mark.parametrize(("option", "task"), [({"sigma": 20}, "denoise"), ({"cfa": "RGGB"}, "demosaic")])
def test_an_option_that_one_task_has_implies_it(option, task):
    image = RGB[..., 1] if task == "demosaic" else RGB
    restored = rnan_tf.restore(image, fast=True, **option)
    np.testing.assert_array_equal(restored, rnan_tf.restore(image, fast=True, task=task, **option))


def test_the_preset_for_gray_jpegs_needs_no_quality(workplace):
    save("a.jpg", RGB[..., 0], quality=60)
    with_quality, without = (
        rnan_tf.restore("a.jpg", fast=True, **more) for more in ({"quality": 30}, {"task": "jpeg"})
    )
    np.testing.assert_array_equal(with_quality.pixels, without.pixels)
    with pytest.raises(InputError, match="is not told the quality"):
        rnan_tf.restore("a.jpg", model="jpeg", quality=30)


def test_only_the_card(models, tmp_path):
    for name in MODELS:
        described = rnan_tf.Restorer.from_preset(models / f"{name}.keras", load_weights=False)
        assert described.card == rnan_tf.Restorer.from_preset(models / f"{name}.keras").card
    with pytest.raises(InputError, match="only its card was read; leave `load_weights` out"):
        described(RGB)
    with pytest.raises(InputError, match="no such model"):
        rnan_tf.Restorer.from_preset(tmp_path / "gone.keras", load_weights=False)


@pytest.mark.parametrize("name", TASKS)
def test_the_preset_of_a_task(name):
    if name in rnan_tf.list_presets():
        assert preset_of(name) == name
    else:
        with pytest.raises(InputError, match=rf"no network for {name} comes with rnan-tf \(.* do\); give `model`"):
            preset_of(name)


@pytest.mark.parametrize("name", quick(["demosaic", "jpeg"], rnan_tf.list_presets()))
def test_every_preset_restores_in_one_line(name):
    clean = np.ascontiguousarray(RGB)
    image = clean[..., 1] if name in ("demosaic", "denoise-gray") else clean
    restored = rnan_tf.restore(image, task=name)
    scale = TASKS[name].scale
    assert restored.shape[:2] == (31 * scale, 37 * scale)
    assert restored.dtype == np.uint8
    assert abs(restored.mean() - image.mean()) < 12
    assert rnan_tf.Restorer.from_preset(name).card.details["steps"] > 0
    assert name in read_manifest()
    keras.backend.clear_session()


# === Without TensorFlow ===


SCRIPT = """
import json, sys
import rnan_tf, rnan_tf.tasks.task
from rnan_tf.restoring.runtimes.litert import read_tflite_card
loaded = lambda: sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"})
found = [loaded()]
photo, model, target = sys.argv[1:4]
card = read_tflite_card(open(model, "rb").read())
found.append(loaded())
restorer = rnan_tf.Restorer.from_preset(model)
assert restorer.card.to_dict() == card
restorer(rnan_tf.read_photo(photo)), restorer(photo, self_ensemble=True)
rnan_tf.restore(photo, target, model=model, sigma=30)
found.append(loaded())
print(json.dumps(found))
"""


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
def test_a_phone_model_restores_without_tensorflow(run_python, tmp_path, tflite_file, extension):
    save(tmp_path / f"a.{extension}")
    found = run_python(SCRIPT, tmp_path / f"a.{extension}", tflite_file, tmp_path / f"b.{extension}")
    assert found == [[], [], []]
    assert rnan_tf.read_photo(tmp_path / f"b.{extension}").pixels.shape == RGB.shape


@pytest.fixture(scope="module")
def tflite_file(models, tmp_path_factory):
    from rnan_tf.export.tflite import exporting
    from rnan_tf.network.loading import load_model
    from rnan_tf.restoring.card import card_of

    model = load_model(models / "denoise.keras")
    path = tmp_path_factory.mktemp("phone") / "m.tflite"
    card = replace(card_of(model, "denoise"), tile=16, overlap=4)
    path.write_bytes(exporting.add_card(exporting.convert(model, 16), card))
    return path


def test_the_photograph_is_not_written_over(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    write_photo(path, skimage.data.astronaut()[:40, :48])
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the photograph itself and would be written over"):
        rnan_tf.restore("photo.png", path, task="denoise", fast=True)
    assert path.read_bytes() == before


def test_a_strength_that_is_no_number():
    restorer = Restorer.from_preset("denoise", fast=True)
    with pytest.raises(InputError, match=r"`sigma` must be a number, or an array .* leave it out"):
        restorer(skimage.data.astronaut()[:40, :48], sigma="auto")
    image = skimage.data.astronaut()[:40, :48]
    np.testing.assert_array_equal(restorer(image, sigma=np.float32(25)), restorer(image, sigma=25))
    with pytest.raises(InputError, match=r"^denoise: its tiles have a fixed size"):
        restorer(skimage.data.astronaut()[:40, :48], tile=64)
