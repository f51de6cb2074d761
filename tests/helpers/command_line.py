"""What the tests of the command line share: a photograph, files of it, and the models in the fixture `models`."""

import pathlib

import numpy as np
import skimage.data
from PIL import Image

RGB = skimage.data.astronaut()[60:91, 200:237]  # 31x37
MODELS = {
    "denoise": {"conditional": True, "metadata": {"task": "denoise", "level": [5, 60]}},
    "denoise-gray": {"channels": 1, "metadata": {"task": "denoise-gray", "level": [30, 30]}},
    "demosaic": {"space_to_depth": 2, "metadata": {"task": "demosaic", "level": None, "steps": 12}},
    "jpeg": {"channels": 1, "metadata": {"task": "jpeg", "level": [10, 40]}},
    "jpeg-color": {"conditional": True, "metadata": {"task": "jpeg-color", "level": [5, 95]}},
    "sr": {"scale": 2, "metadata": {"task": "sr", "level": [2, 2]}},
    "untold": {},
}


def save(path, array=RGB, **options):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def to16(array):
    return array.astype(np.uint16) * 257 + 3
