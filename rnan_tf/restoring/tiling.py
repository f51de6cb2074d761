"""Restore images of any size in bounded memory: overlapping tiles, feathered together, and the self-ensemble."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.pixels import from_float, to_float

# A predictor maps a batch (N, H, W, C) float32 in [0, 1] to (N, scale * H, scale * W, C) float32. Where the strength
# differs over the image, it is given each tile's, (N,), too.
Predictor = Callable[..., np.ndarray]

Progress = Callable[[int, int], None]

# Tiles begin and end at multiples of this, which keeps the phase of strides and of the mosaic.
MULTIPLE = 4


@dataclass(frozen=True)
class Tiling:
    """How an image is cut up.

    Attributes:
        tile: largest height and width of a tile, pixels of the degraded image; an image's tiles are equally large.
        overlap: pixels that neighbouring tiles share; the outer quarter on either side is context only, the tiles are
            blended over the rest.
        fixed: all tiles have exactly the largest size, as exported models need; smaller images are reflected up to it.
        batch: tiles that are restored at a time, of one row or of several.

    Raises:
        InputError: a size is out of its range.
    """

    tile: int = 96  # docs/benchmarks.md has the measurement
    overlap: int = 12
    fixed: bool = False
    batch: int = 1

    def __post_init__(self) -> None:
        if self.tile < 16 or self.tile % MULTIPLE:
            raise InputError(f"`tile` must be a multiple of {MULTIPLE}, at least 16; got {self.tile}")
        if not 0 <= self.overlap <= self.tile // 2 or self.overlap % MULTIPLE:
            raise InputError(
                f"`overlap` must be a multiple of {MULTIPLE}, from 0 to half the tile ({self.tile // 2}); "
                f"got {self.overlap}"
            )


def asked_tiling(tile: int | None = None, overlap: int | None = None, default: Tiling | None = None) -> Tiling:
    """Return a tiling with the sizes that are given.

    Args:
        tile: see `Tiling`; None takes the default's.
        overlap: likewise.
        default: a network's own; None: `Tiling()`.

    Raises:
        InputError: a size is out of its range.
    """
    default = default or Tiling()
    tile, overlap = default.tile if tile is None else tile, default.overlap if overlap is None else overlap
    return replace(default, tile=tile, overlap=overlap)


def self_ensemble(predict: Predictor, is_mosaic: bool = False) -> Predictor:
    """Average a predictor over the eight turns and flips of its input.

    Args:
        predict: the predictor.
        is_mosaic: the input is a GRBG mosaic: a flip shifts its phase, which one reflected row or column mends, and a
            transposition exchanges red and blue.

    Returns:
        A predictor that takes eight times as long.

    Reference: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", 2017, section 3.4.
    """

    def predict_all(batch: np.ndarray, *strengths: np.ndarray) -> np.ndarray:
        total = np.zeros((), np.float32)  # of the tiles' type: float64 would round other pixels otherwise
        for flip_y, flip_x, transpose in np.ndindex(2, 2, 2):
            # A flip of an even size moves the mosaic by one; an odd one keeps it.
            shift_y = is_mosaic and flip_y and batch.shape[1] % 2 == 0
            shift_x = is_mosaic and flip_x and batch.shape[2] % 2 == 0
            x = _flip(batch, flip_y, flip_x)
            x = np.pad(x, ((0, 0), (int(shift_y), 0), (int(shift_x), 0), (0, 0)), mode="reflect")
            if transpose:
                x = _transpose(x, is_mosaic)
            y = predict(np.ascontiguousarray(x), *strengths)
            if transpose:
                y = _transpose(y, is_mosaic)
            total = total + _flip(y[:, int(shift_y) :, int(shift_x) :], flip_y, flip_x)
        return total / 8

    return predict_all


def restore(
    predict: Predictor,
    pixels: np.ndarray,
    scale: int = 1,
    tiling: Tiling | None = None,
    progress: Progress | None = None,
    strengths: np.ndarray | None = None,
) -> np.ndarray:
    """Restore one image, some tiles at a time.

    Args:
        predict: the predictor.
        pixels: (H, W, C) uint8 or uint16, any size from 1x1 up.
        scale: how many times larger the predictor's output is.
        tiling: tile size and overlap; default `Tiling()`.
        progress: called as progress(tiles done, tiles in all); what it raises ends the restoration.
        strengths: (rows, columns), those of equal parts of the image; between their middles they change linearly, and
            `predict` is given the one in the middle of each tile. None: it is given none.

    Returns:
        (scale * H, scale * W, C), the dtype of `pixels`. Besides it and the input, memory is a row of tiles and a
        batch.
    """
    tiling = tiling or Tiling()
    height, width, channels = pixels.shape
    rows, columns = _spans(height, tiling), _spans(width, tiling)
    result = np.empty((height * scale, width * scale, channels), pixels.dtype)
    band = np.zeros((rows[0].size * scale, columns[-1].stop * scale, channels), np.float32)
    tiles = [(row, column) for row in rows for column in columns]
    outputs = _outputs(predict, pixels, tiles, tiling.batch, progress, strengths)
    for row, next_row in zip(rows, [*rows[1:], None], strict=True):
        for column in columns:
            weight = np.repeat(row.weights, scale)[:, None, None] * np.repeat(column.weights, scale)[:, None]
            band[:, column.start * scale : column.stop * scale] += next(outputs) * weight
        # Rows above the next tiles are complete; the others are carried over.
        done = (next_row.start if next_row else row.stop) - row.start
        target = result[row.start * scale : (row.start + done) * scale]
        target[:] = from_float(band[: len(target), : width * scale], pixels.dtype)
        band = np.concatenate([band[done * scale :], np.zeros_like(band[: done * scale])])
    return result


def _outputs(
    predict: Predictor,
    pixels: np.ndarray,
    tiles: list[tuple["_Span", "_Span"]],
    batch: int,
    progress: Progress | None,
    strengths: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Yield the restored tiles; batches go on from one row to the next, so that all but the last are full."""
    for first in range(0, len(tiles), batch):
        group = tiles[first : first + batch]
        images = np.stack([to_float(_cut(pixels, *spans)) for spans in group])
        if strengths is None:
            outputs = predict(images)
        else:
            outputs = predict(images, np.array([_in_the_middle(strengths, pixels.shape, *spans) for spans in group]))
        if progress:
            progress(first + len(group), len(tiles))
        yield from outputs


def _in_the_middle(strengths: np.ndarray, shape: tuple[int, ...], row: "_Span", column: "_Span") -> float:
    y, x = (
        (span.start + min(span.stop, side)) / 2 / side * count
        - 0.5  # what is reflected beyond the image does not count
        for span, side, count in zip((row, column), shape, strengths.shape, strict=False)
    )
    across = [np.interp(x, np.arange(strengths.shape[1]), part) for part in strengths]
    return float(np.interp(y, np.arange(strengths.shape[0]), across))


@dataclass(frozen=True)
class _Span:
    start: int
    size: int
    weights: np.ndarray

    @property
    def stop(self) -> int:
        return self.start + self.size


def _spans(size: int, tiling: Tiling) -> list[_Span]:
    """Cover an axis by tiles whose blending weights add up to 1 at every pixel."""
    overlap, padded = tiling.overlap, max(_round_up(size), tiling.tile if tiling.fixed else 0)
    count = max(-(-(padded - overlap) // (tiling.tile - overlap)), 1)
    tile = tiling.tile if tiling.fixed else _round_up(-(-(padded + (count - 1) * overlap) // count))
    starts = [min(i * (tile - overlap), padded - tile) for i in range(count)]
    # Zero over the outer quarter of the overlap, where a tile lacks context, then a linear ramp.
    distance = np.arange(tile) + 0.5
    context, ramp = overlap / 4, max(overlap / 2, 1)
    rising = np.clip((distance - context) / ramp, 1e-6, 1)
    weights = [
        (rising if start > 0 else 1) * (rising[::-1] if start + tile < padded else 1) * np.ones(tile)
        for start in starts
    ]
    total = np.zeros(padded)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    return [
        _Span(start, tile, (weight / total[start : start + tile]).astype(np.float32))
        for start, weight in zip(starts, weights, strict=True)
    ]


def _round_up(size: int) -> int:
    return -(-size // MULTIPLE) * MULTIPLE


def _cut(pixels: np.ndarray, row: _Span, column: _Span) -> np.ndarray:
    """Cut a tile; beyond the bottom and the right of the image its reflection goes on."""
    tile = pixels[row.start : row.stop, column.start : column.stop]
    missing = row.size - tile.shape[0], column.size - tile.shape[1]
    if not any(missing):
        return tile
    return np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")


def _flip(x: np.ndarray, flip_y: int, flip_x: int) -> np.ndarray:
    return x[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def _transpose(x: np.ndarray, is_mosaic: bool) -> np.ndarray:
    x = x.swapaxes(1, 2)
    return x[..., ::-1] if is_mosaic else x
