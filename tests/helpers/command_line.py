"""What the tests of the command line share: a photograph, files of it, and the models in the fixture `models`."""

import pathlib

import numpy as np
import skimage.data
from PIL import Image

RGB = skimage.data.astronaut()[60:91, 200:237]  # 31x37
# Name, which is the task's -> (the network's arguments, the strengths that it is said to be trained for).
MODELS = {
    "denoise": ({"conditional": True}, (5, 60)),
    "denoise-gray": ({"channels": 1}, (30, 30)),
    "demosaic": ({"space_to_depth": 2}, (0, 0)),
    "jpeg": ({"channels": 1}, (10, 40)),
    "jpeg-color": ({"conditional": True}, (5, 95)),
    "sr-x2": ({"scale": 2}, (0, 0)),
    "sr-x3": ({"scale": 3}, (0, 0)),
    "sr-x4": ({"scale": 4}, (0, 0)),
}


def save(path, array=RGB, **options):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def to16(array):
    return array.astype(np.uint16) * 257 + 3
