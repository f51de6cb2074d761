"""What the tests of a served model share: the network, a photograph for it, and what its clients should receive."""

import numpy as np
import skimage.data
from PIL import Image

from rnan_tf.network.model import RNAN
from rnan_tf.photos.photo import Photo, read_photo
from rnan_tf.restoring.adapters import restore_photo
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.task import get_task

PHOTO = skimage.data.astronaut()[60:101, 200:237]  # 41x37
TILING = Tiling(32, 8)
LIMIT = 10_000  # restored pixels
LEVEL = 25


def make_denoiser() -> RNAN:
    """A small network that is told the noise."""
    card = ModelCard.of_task(get_task("denoise"), (5, 60), conditional=True)
    return RNAN(filters=8, num_blocks=2, space_to_depth=2, conditional=True, metadata=card.to_dict())


def expected(model: RNAN, path) -> Photo:
    """What comes of a file that is decoded before it is sent."""
    return restore_photo(read_photo(path), get_task("denoise"), KerasRuntime(model).at(LEVEL), TILING)


def expected_sideways(model: RNAN, path) -> np.ndarray:
    """What comes of a file that is sent as it is, turned upright afterwards."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return np.rot90(restore(KerasRuntime(model).at(LEVEL), pixels, 1, TILING), -1)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest of any pixel."""
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).max()
