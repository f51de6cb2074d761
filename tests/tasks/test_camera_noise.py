"""The noise of cameras among tasks.degradations: Poisson-Gaussian in linear light, at a gain drawn for each image."""

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from skimage.color import rgb2xyz

from rnan_tf.tasks import degradations
from rnan_tf.tasks.task import NOISES, TASKS

ASTRONAUT = skimage.data.astronaut()
LEVELS = np.array([40, 80, 120, 160, 200], np.uint8)


def linear(encoded):
    """Undo sRGB's curve: the luminance of grays, by scikit-image."""
    gray = np.asarray(encoded, np.float64).ravel()[:, None].repeat(3, axis=1)
    return rgb2xyz(gray)[:, 1].reshape(np.shape(encoded))


def noisy(image, number=0):
    result = degradations.add_camera_noise(image, (3, number))
    assert result.dtype == tf.uint8 and result.shape == image.shape
    return result.numpy()


def variances(number):
    """The variance in linear light at each of `LEVELS`, and the light."""
    image = np.repeat(LEVELS, 60_000).reshape(5, 20_000, 3)
    return linear(noisy(image, number) / 255).reshape(5, -1).var(axis=1), linear(LEVELS / 255)


@pytest.mark.parametrize("number", [1, 4, 9])
def test_the_variance_is_a_line_over_the_light(number):
    found, light = variances(number)
    shot, read = np.polyfit(light, found, 1)
    np.testing.assert_allclose(found, shot * light + read, rtol=0.06)
    assert shot > 0


def test_gains_are_those_of_brooks_and_differ_from_image_to_image():
    shots = []
    for number in range(60):
        found, light = variances(number)
        shots.append(max(np.polyfit(light, found, 1)[0], 1e-5))
    logs = np.log(shots)
    assert np.log(1e-4) - 0.5 < logs.min() < np.log(4e-4) and np.log(0.004) < logs.max() < np.log(0.012) + 0.3
    # Uniform between them: the middle half lies around the middle.
    middle = (np.log(1e-4) + np.log(0.012)) / 2
    assert np.median(logs) == pytest.approx(middle, abs=0.8)


def test_the_noise_is_white_and_its_channels_are_independent():
    noise = noisy(np.full((200, 200, 3), 128, np.uint8), 4) - 128.0
    for other in (np.roll(noise, 1, axis=0), np.roll(noise, 1, axis=1), np.roll(noise, 1, axis=2)):
        assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.015


def test_the_same_bytes_in_a_dataset_in_any_order():
    image = ASTRONAUT[:40, :56]
    expected = [noisy(image, number).tobytes() for number in range(8)]
    assert len(set(expected)) == 8
    dataset = tf.data.Dataset.from_tensor_slices(np.arange(8)[::-1].astype(np.int64))
    dataset = dataset.map(
        lambda number: (number, degradations.add_camera_noise(image, (tf.constant(3, tf.int64), number))),
        num_parallel_calls=4,
    )
    assert {int(number): result.numpy().tobytes() for number, result in dataset} == dict(enumerate(expected))


@pytest.mark.parametrize("name", ["denoise", "denoise-gray"])
def test_the_task_with_camera_noise_has_no_strength(name):
    task = TASKS[name].with_noise("camera")
    assert task.strength is None and not task.conditional
    clean = task.clean(ASTRONAUT[:32, :32])
    np.testing.assert_array_equal(task.degrade(clean, (0, 5)), degradations.add_camera_noise(clean, (0, 5)))
    assert TASKS[name].with_noise(NOISES[0]) is TASKS[name]
