"""Photographs as the clean images of a task."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rnan_tf.errors import ImageError, InputError, say_skipped
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.photo import read_photo
from rnan_tf.tasks.task import Task


def read_clean(path: str | os.PathLike[str], task: Task) -> np.ndarray:
    """Read a photograph as a clean image of a task.

    Args:
        path: an image file; 16-bit images are reduced to 8 bit, alpha is dropped.
        task: the task.

    Returns:
        (H, W, task.channels) uint8.

    Raises:
        ImageError: the file is not an image that can be read.
    """
    pixels = read_photo(path).pixels
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    return task.clean(pixels)


def read_images(
    paths: Iterable[str | os.PathLike[str]], task: Task, min_size: int = 1, max_bytes: float = float("inf")
) -> list[tuple[str, np.ndarray]] | None:
    """Read all photographs of some folders, naming and skipping what cannot be read or is too small.

    Args:
        paths: files, folders or globs.
        task: the task.
        min_size: least height and width of a clean image.
        max_bytes: how much memory the images may take.

    Returns:
        (file name, (H, W, task.channels) uint8) pairs, or None if the images take more than `max_bytes`.

    Raises:
        InputError: no image is left.
    """
    files, images, size = list_images(paths), [], 0
    for file in tqdm(files, desc="Reading photographs", unit="image", leave=False, disable=len(files) < 50):
        image = try_read(file, task, min_size)
        if image is None:
            continue
        images.append((file.name, image))
        size += image.nbytes
        if size > max_bytes:
            return None
    if not images:
        raise InputError(nothing_usable(files, min_size))
    return images


def try_read(file: Path, task: Task, min_size: int) -> np.ndarray | None:
    try:
        image = read_clean(file, task)
    except ImageError as error:
        say_skipped(error)
        return None
    return image if is_large_enough(file, image, min_size) else None


def is_large_enough(file: Path, image: np.ndarray, min_size: int) -> bool:
    """Return whether an image has the least height and width; if not, say so in a line."""
    height, width = image.shape[:2]
    if min(height, width) < min_size:
        say_skipped(f"{file} is {width}x{height}, smaller than {min_size}x{min_size}")
        return False
    return True


def nothing_usable(files: Sequence[Path], min_size: int) -> str:
    folders = ", ".join(sorted({str(file.parent) for file in files}))
    return (
        f"{folders}: none of {len(files)} images can be used; each must be readable and at least {min_size}x{min_size}"
    )
