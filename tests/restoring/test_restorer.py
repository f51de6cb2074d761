"""rnan_tf.restoring.restorer: one object, and one function, that restore; the command line is the oracle."""

import keras
import numpy as np
import pytest
from rnan_tf.restoring.presets import read_manifest

import rnan_tf
from rnan_tf.errors import InputError
from tests.helpers.command_line import MODELS, RGB, save, to16


@pytest.fixture(scope="module")
def restorers(models):
    return {name: rnan_tf.Restorer.from_preset(models / f"{name}.keras") for name in MODELS if name != "untold"}


@pytest.mark.parametrize("name", [name for name in MODELS if name != "untold"])
def test_it_restores_as_the_command_does(name, restorers, rnan_tf, workplace):
    import rnan_tf as library

    image = RGB if name in ("denoise", "jpeg-color", "sr", "jpeg") else RGB[..., 1]
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
    assert restorers["sr"](RGB).shape == (62, 74, 3)
    photo = rnan_tf.Photo(RGB, np.full(RGB.shape[:2], 7, np.uint8), None, "PNG")
    restored = restorers["denoise"](photo, sigma=30)
    assert isinstance(restored, rnan_tf.Photo)
    np.testing.assert_array_equal(restored.alpha, photo.alpha)


def test_the_strength_matters_and_is_estimated_where_it_is_left_out(restorers):
    restorer = restorers["denoise"]
    noise = np.random.default_rng(0).normal(0, 25, RGB.shape)
    noisy = np.clip(np.tile(RGB, (3, 3, 1)) + np.tile(noise, (3, 3, 1)), 0, 255).astype(np.uint8)
    sigma = restorer.strength_for(noisy)
    assert 15 < sigma < 35
    np.testing.assert_array_equal(restorer(noisy), restorer(noisy, sigma=sigma))
    assert (restorer(noisy) != restorer(noisy, sigma=60)).any()


def test_the_card(restorers):
    card = restorers["denoise"].card
    assert (card.task, card.strength, card.strengths, card.scale, card.tile) == ("denoise", "sigma", (5, 60), 1, None)
    assert rnan_tf.ModelCard.from_dict(card.to_dict()) == card
    assert restorers["jpeg"].card.strength == "quality" and not restorers["jpeg"].card.conditional
    assert restorers["demosaic"].card.strengths is None and restorers["demosaic"].card.details["steps"] == 12
    assert (restorers["sr"].card.scale, restorers["sr"].card.strength) == (2, None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("demosaic", {"sigma": 25}, "restores demosaic, which has no sigma; leave sigma out"),
        ("denoise", {"quality": 30}, "restores denoise, which has no quality"),
        ("denoise", {"sigma": 75}, "trained for level 5 to 60, not 75"),
        ("jpeg", {"quality": 30}, "is not told the quality; leave quality out"),
        ("denoise-gray", {"sigma": 31}, "trained for level 30, not 31"),
        ("denoise", {"tile": 18}, "^tile must be a multiple of 4"),
        ("demosaic", {}, "not a GRBG mosaic"),
    ],
)
def test_an_option_that_does_not_fit_is_an_error(name, options, message, restorers):
    with pytest.raises(InputError, match=message):
        restorers[name](RGB, **options)


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
    assert told == [(i, 9) for i in range(1, 10)]


def test_one_line_restores_a_file(workplace, models):
    save("a.png", RGB[..., 1])
    photo = rnan_tf.restore("a.png", "b.png", model=models / "demosaic.keras")
    np.testing.assert_array_equal(rnan_tf.read_photo("b.png").pixels, photo.pixels)
    with pytest.raises(InputError, match="give a task"):
        rnan_tf.restore("a.png", "c.png")
    with pytest.raises(InputError, match="no network called sharpen is bundled"):
        rnan_tf.restore("a.png", "c.png", task="sharpen")
    with pytest.raises(InputError, match="no format has the extension"):
        rnan_tf.restore("a.png", "c.xyz", model=models / "demosaic.keras")


@pytest.mark.parametrize("name", rnan_tf.list_presets())
def test_every_preset_restores_in_one_line(name):
    clean = np.ascontiguousarray(RGB)
    image = clean[..., 1] if name in ("demosaic", "denoise-gray") else clean
    restored = rnan_tf.restore(image, task=name)
    scale = int(name[-1]) if name.startswith("sr-x") else 1
    assert restored.shape[:2] == (31 * scale, 37 * scale)
    assert restored.dtype == np.uint8
    assert abs(restored.mean() - image.mean()) < 12
    assert rnan_tf.Restorer.from_preset(name).card.details["steps"] > 0
    assert name in read_manifest()
    keras.backend.clear_session()
