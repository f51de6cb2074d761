"""Restore photographs as they come: any depth and channels, alpha, mosaics of any phase, colour JPEGs."""

from dataclasses import replace

import numpy as np
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo
from rnan_tf.photos.pixels import CFA_PATTERNS, from_float, rgb_to_ycbcr, to_float, ycbcr_to_rgb
from rnan_tf.restoring.tiling import Predictor, Progress, Tiling, restore
from rnan_tf.tasks.strength import QUALITY
from rnan_tf.tasks.task import Task

# Rows and columns to put before a mosaic of each pattern to make it the GRBG that networks are trained on.
_CFA_SHIFT = dict(zip(CFA_PATTERNS, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True))


def restore_photo(
    photo: Photo,
    task: Task,
    predict: Predictor,
    tiling: Tiling | None = None,
    cfa: str = CFA_PATTERNS[0],
    progress: Progress | None = None,
    strengths: np.ndarray | None = None,
) -> Photo:
    """Restore a photograph.

    Gray photographs go through RGB networks as three equal channels, RGB ones through gray denoising channel by
    channel. A colour JPEG is restored in YCbCr, where the codec worked: the network sees its luma.

    Args:
        photo: the degraded photograph. For demosaicing a single-channel Bayer image, or an RGB one whose unsampled
            positions are zero.
        task: what to restore.
        predict: the network.
        tiling: see `restore`.
        cfa: for demosaicing, the colours at (0,0) (0,1) (1,0) (1,1).
        progress: see `restore`.
        strengths: see `restore`.

    Returns:
        The restored photograph, in the bit depth and with the alpha, the ICC profile and the metadata of `photo`.
        Where JPEG artifacts were restored its `jpeg` is None: the same tables would put them back.

    Raises:
        InputError: the photograph is not what the task restores.
    """
    # Each conversion happens tile by tile, inside the predictor: no second copy of a large photograph.
    pixels, channels = photo.pixels, photo.pixels.shape[2]
    if task.mosaic:
        pixels, predict = _as_bayer(pixels, cfa), _from_bayer(predict, cfa)
    elif task.of_luma and channels == 3:
        predict = _on_luma(predict)
    elif task.channels < channels:
        predict = _on_each_channel(predict)
    elif task.channels > channels:
        predict = _on_gray(predict)
    restored = restore(predict, pixels, task.scale, tiling, progress, strengths)
    alpha = photo.alpha if task.scale == 1 or photo.alpha is None else _enlarge(photo.alpha, task.scale)
    jpeg = None if task.strength is QUALITY else photo.jpeg
    return replace(photo, pixels=restored, alpha=alpha, jpeg=jpeg)


def blended(restored: Photo, given: Photo, blend: float) -> Photo:
    """Mix a restored photograph with the given one.

    Args:
        restored: of the same bit depth; it may be larger.
        given: the photograph.
        blend: how much of the restored one, 0 to 1.

    Returns:
        The mixture.
    """
    if blend == 1:
        return restored
    scale = restored.pixels.shape[0] // given.pixels.shape[0]
    channels = np.moveaxis(given.pixels, -1, 0)
    mixed = restored.pixels.copy()
    for index, channel in enumerate(channels if scale == 1 else [_enlarge(channel, scale) for channel in channels]):
        mixture = np.float32(blend) * mixed[..., index] + np.float32(1 - blend) * channel
        mixed[..., index] = np.rint(mixture)
    return replace(restored, pixels=mixed)


def _as_bayer(pixels: np.ndarray, cfa: str) -> np.ndarray:
    """Return the samples of a mosaic as a view with three equal channels."""
    if cfa not in _CFA_SHIFT:
        raise InputError(f"`cfa` must be one of {', '.join(CFA_PATTERNS)}; got {cfa}")
    if pixels.shape[2] == 3:
        for (y, x), sampled in zip(np.ndindex(2, 2), cfa, strict=True):
            if any(pixels[y::2, x::2, "RGB".index(color)].any() for color in set("RGB") - {sampled}):
                raise InputError(
                    f"not a {cfa} mosaic: pixels that its sensor does not sample are not zero; give the right `cfa`, "
                    "or the single-channel Bayer image"
                )
        pixels = pixels.max(axis=2, keepdims=True)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _from_bayer(predict: Predictor, cfa: str) -> Predictor:
    """Adapt a network for GRBG mosaics to the tiles of `_as_bayer`, which begin and end at even positions."""
    shift_y, shift_x = _CFA_SHIFT[cfa]
    cell = np.eye(3, dtype=np.float32)[["RGB".index(color) for color in cfa]].reshape(2, 2, 3)

    def adapted(batch: np.ndarray, *strengths: np.ndarray) -> np.ndarray:
        mosaic = batch * np.tile(cell, (batch.shape[1] // 2, batch.shape[2] // 2, 1))
        shifted = np.pad(mosaic, ((0, 0), (shift_y, 0), (shift_x, 0), (0, 0)), mode="reflect")
        return predict(shifted, *strengths)[:, shift_y:, shift_x:]

    return adapted


def _on_luma(predict: Predictor) -> Predictor:
    def adapted(batch: np.ndarray, *strengths: np.ndarray) -> np.ndarray:
        ycc = rgb_to_ycbcr(batch)
        ycc[..., :1] = predict(ycc[..., :1], *strengths)
        return ycbcr_to_rgb(ycc)

    return adapted


def _on_each_channel(predict: Predictor) -> Predictor:
    def adapted(batch: np.ndarray, *strengths: np.ndarray) -> np.ndarray:
        channels = np.split(batch, batch.shape[-1], axis=-1)
        return np.concatenate([predict(channel, *strengths) for channel in channels], axis=-1)

    return adapted


def _on_gray(predict: Predictor) -> Predictor:
    def adapted(batch: np.ndarray, *strengths: np.ndarray) -> np.ndarray:
        return np.asarray(predict(np.repeat(batch, 3, axis=-1), *strengths).mean(axis=-1, keepdims=True))

    return adapted


def _enlarge(alpha: np.ndarray, scale: int) -> np.ndarray:
    height, width = alpha.shape
    image = Image.fromarray(to_float(alpha)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return from_float(np.asarray(image), alpha.dtype)
