"""What tiling and blending give, for the tests of the hosts in C++, TypeScript and Kotlin: tests/data/tiling.json.

`python -m tests.helpers.tiling_vectors` writes it. Tiles are fixed, as exported models need them:

- `axes`: an axis of `size` pixels is covered by tiles at `starts`, blended by `weights` (float32, one list a tile).
- `images`: `restored` is the image that comes of `pixels` (row by row, channels last, `bits` a value), enlarged `scale`
  times by a network whose output is image(y / scale, x / scale, c) / 2 + (y + 2 * x) / 256, with y and x counted from
  the tile's corner, in float32.
"""

import json
from pathlib import Path

import numpy as np

from rnan_tf.restoring import tiling
from rnan_tf.restoring.tiling import Tiling

FILE = Path(__file__).parents[1] / "data" / "tiling.json"
# (size, tile, overlap): smaller than a tile, as large, not a multiple of 4, several tiles, an overlap of half a tile.
AXES = ((1, 16, 4), (16, 16, 4), (17, 16, 4), (50, 16, 0), (50, 16, 8), (61, 32, 8), (200, 96, 16))
# (height, width, channels, bits, scale, tile, overlap).
IMAGES = ((1, 1, 3, 8, 1, 16, 4), (5, 22, 3, 8, 1, 16, 8), (37, 29, 1, 16, 1, 16, 4), (19, 25, 1, 8, 3, 16, 4))


def network(batch: np.ndarray, scale: int) -> np.ndarray:
    """A network that any language can copy, and whose output shows where a tile lies."""
    height, width = batch.shape[1] * scale, batch.shape[2] * scale
    ramp = np.arange(height, dtype=np.float32)[:, None, None] + 2 * np.arange(width, dtype=np.float32)[:, None]
    return batch.repeat(scale, 1).repeat(scale, 2) / np.float32(2) + ramp / np.float32(256)


def axis_vector(size: int, tile: int, overlap: int) -> dict:
    """An entry of `axes`."""
    spans = tiling._spans(size, Tiling(tile, overlap, fixed=True))
    # The shortest decimals that are the same float32.
    weights = [[float(str(weight)) for weight in span.weights] for span in spans]
    return {
        "size": size,
        "tile": tile,
        "overlap": overlap,
        "starts": [span.start for span in spans],
        "weights": weights,
    }


def image_vector(height: int, width: int, channels: int, bits: int, scale: int, tile: int, overlap: int) -> dict:
    """An entry of `images`."""
    rng = np.random.default_rng(height * width)
    pixels = rng.integers(0, 2**bits, (height, width, channels), dtype=f"uint{bits}")
    restored = tiling.restore(lambda batch: network(batch, scale), pixels, scale, Tiling(tile, overlap, fixed=True))
    sizes = {"height": height, "width": width, "channels": channels, "bits": bits}
    tiles = {"scale": scale, "tile": tile, "overlap": overlap}
    return {**sizes, **tiles, "pixels": pixels.ravel().tolist(), "restored": restored.ravel().tolist()}


def vectors() -> dict:
    """The content of `FILE`."""
    return {
        "axes": [axis_vector(*case) for case in AXES],
        "images": [image_vector(*case) for case in IMAGES],
    }


def main() -> None:
    """Write `FILE`, a line an entry."""
    lists = (
        f'"{name}": [\n' + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries) + "\n]"
        for name, entries in vectors().items()
    )
    FILE.write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main()
