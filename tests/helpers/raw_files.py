"""Bayer DNGs made of known linear images, by pidng."""

from pathlib import Path

import numpy as np

from tests.helpers.missing import needs

needs("pidng", "rawpy")

import rawpy
from pidng.core import RAW2DNG, DNGTags, Tag
from pidng.defs import CalibrationIlluminant, CFAPattern, DNGVersion, PhotometricInterpretation

from rnan_tf.photos.raw import srgb_decode

# Canon EOS 5D Mark II, from Adobe's DNG converter: XYZ of D65 -> camera RGB.
FROM_XYZ = np.array([[0.4716, 0.0603, -0.0830], [-0.7798, 1.5474, 0.2480], [-0.1496, 0.1937, 0.6651]])
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
GAINS = (2.0, 1.0, 1.5)
BLACK, WHITE = (512, 512, 512, 512), 16383


def camera_light(srgb: np.ndarray) -> np.ndarray:
    """Return what the camera's white-balanced channels see of a photograph: (H, W, 3) uint8 -> float, white is 1."""
    from_srgb = FROM_XYZ @ SRGB_TO_XYZ
    return srgb_decode(srgb / 255) @ (from_srgb / from_srgb.sum(axis=1, keepdims=True)).T


def sample(light: np.ndarray, cfa: str, gains=GAINS) -> np.ndarray:
    """Sample white-balanced camera light by a sensor: (H, W, 3) -> (H, W), a channel's saturation is 1."""
    mosaic = np.empty(light.shape[:2])
    for (y, x), color in zip(np.ndindex(2, 2), cfa, strict=True):
        channel = "RGB".index(color)
        mosaic[y::2, x::2] = light[y::2, x::2, channel] * min(gains) / gains[channel]
    return mosaic


def write_dng(path: Path, mosaic: np.ndarray, cfa: str = "GRBG", gains=GAINS, black=BLACK, white: int = WHITE, **tags):
    """Write a mosaic.

    Args:
        path: the file, *.dng.
        mosaic: (H, W), 0 is black and 1 saturates.
        cfa: its pattern.
        gains: the camera's white balance.
        black: level at (0,0) (0,1) (1,0) (1,1).
        white: level.
        **tags: further DNG tags by pidng's names, or other values of those written here.
    """
    height, width = mosaic.shape
    levels = np.tile(np.reshape(black, (2, 2)), (height // 2 + 1, width // 2 + 1))[:height, :width]
    pixels = np.rint(np.clip(levels + mosaic * (white - levels), 0, white)).astype(np.uint16)
    values = {
        "ImageWidth": width,
        "ImageLength": height,
        "TileWidth": width,
        "TileLength": height,
        "Orientation": 1,
        "PhotometricInterpretation": PhotometricInterpretation.Color_Filter_Array,
        "SamplesPerPixel": 1,
        "BitsPerSample": 16,
        "CFARepeatPatternDim": [2, 2],
        "CFAPattern": getattr(CFAPattern, cfa),
        "BlackLevelRepeatDim": [2, 2],
        "BlackLevel": list(black),
        "WhiteLevel": white,
        "ColorMatrix1": [[round(x * 10_000), 10_000] for x in FROM_XYZ.ravel()],
        "CalibrationIlluminant1": CalibrationIlluminant.D65,
        "AsShotNeutral": [[round(10_000 / gain), 10_000] for gain in gains],
        "Make": "RNAN",
        "Model": "test",
        "DNGVersion": DNGVersion.V1_4,
        "DNGBackwardVersion": DNGVersion.V1_2,
        **tags,
    }
    written = DNGTags()
    for name, value in values.items():
        written.set(getattr(Tag, name), value)
    converter = RAW2DNG()
    converter.options(written, path="", compress=False)
    converter.convert(pixels, filename=str(path.with_suffix("")))


def open_by_libraw(path: Path) -> rawpy.RawPy:
    """Open a raw file as others do."""
    return rawpy.imread(str(path))
