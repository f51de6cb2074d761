"""The same piece of several images side by side."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

CAPTION = 16  # pixels


def side_by_side(images: Mapping[str, np.ndarray], size: int, corner: tuple[int, int] | None = None) -> np.ndarray:
    """Put the same square of images in a row, their names above.

    Args:
        images: name -> (H, W, 1 or 3) uint8, all of one height and width.
        size: of the square; smaller images give smaller ones.
        corner: (y, x) of the square's first pixel; None for the middle.

    Returns:
        (size + CAPTION, count * size, 3) uint8.
    """
    height, width = next(iter(images.values())).shape[:2]
    size = min(size, height, width)
    y, x = corner or ((height - size) // 2, (width - size) // 2)
    squares = [np.broadcast_to(image[y : y + size, x : x + size], (size, size, 3)) for image in images.values()]
    caption = Image.new("RGB", (size * len(squares), CAPTION), "white")
    for i, name in enumerate(images):
        ImageDraw.Draw(caption).text((i * size + 4, 2), name[: size // 7], fill="black")
    return np.concatenate([np.asarray(caption), np.concatenate(squares, axis=1)])
