"""How a JPEG file was compressed, which is told by its quantisation tables."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from PIL import JpegImagePlugin

_SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # Pillow's numbers
# Those of libjpeg at quality 50, row by row. Reference: ITU-T T.81, annex K, tables K.1 and K.2.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


@dataclass(frozen=True)
class JpegCoding:
    """The settings of a JPEG file's encoder.

    Attributes:
        tables: the quantisation tables of luma and, for colour, chroma, 64 numbers each, row by row.
        subsampling: of the chroma, "4:4:4", "4:2:2" or "4:2:0"; None for gray and where it is another.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: str | None

    @cached_property
    def quality(self) -> int:
        """The quality on libjpeg's scale, 1-100; that of the nearest tables, by their logarithms, if none are equal."""
        tables = np.array(self.tables).clip(1, 255)
        known = _all_tables()[:, : len(tables)]
        if (equal := (known == tables).all(axis=(1, 2))).any():
            return 1 + int(np.flatnonzero(equal)[-1])
        return 1 + int(np.abs(np.log(known / tables)).sum(axis=(1, 2)).argmin())


@lru_cache
def _all_tables() -> np.ndarray:
    """(100, 2, 64): libjpeg's tables at quality 1 to 100."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return ((np.array([_LUMA, _CHROMA]) * scale[:, None, None] + 50) // 100).clip(1, 255)


def read_jpeg_coding(image: Any) -> JpegCoding | None:
    """Return how a file was compressed.

    Args:
        image: Pillow's, opened.

    Returns:
        The settings; None where a table is missing, as in abbreviated files.
    """
    numbers = list(dict.fromkeys(component[3] for component in image.layer[:2]))
    tables = [tuple(image.quantization.get(number, ())) for number in numbers]
    if not tables or any(len(table) != 64 for table in tables):
        return None
    if len(image.layer) > 1 and len(tables) == 1:
        tables *= 2
    return JpegCoding(tuple(tables), _SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(image)))
