"""The reference's network and its own tiling in PyTorch, for ratios of one run; needs `pip install 'rnan-tf[torch]'`.

`python benchmarks/reference_torch.py` checks that the network gives what the authors' code gave (tests/data/reference),
then prints the seconds that one image of 512x768 takes in float32 and in bfloat16 autocast.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "data" / "reference" / "restore_rgb_f16_g3.npz"
SHAVE, MULTIPLE, MAX_TILE = 10, 4, 10_000  # context around a half, its sides' common factor, pixels of a tile


class Reference:
    """The reference's network for restoration at the input's size.

    Args:
        tensors: the authors' tensor names -> tensors.

    Reference: Zhang et al., "Residual Non-local Attention Networks for Image Restoration", ICLR 2019, and its code.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]):
        self.tensors = tensors
        self.num_local = sum(name.startswith("body.") and name.endswith(".body.1.weight") for name in tensors)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Restore a batch (N, C, H, W) of the range 0-255, H and W even."""
        y = self._attention_block(self._conv(x, "head.0"), "body_nl_low.0")
        for i in range(self.num_local):
            y = self._attention_block(y, f"body.{i}")
        y = self._attention_block(self._conv(y, f"body.{self.num_local}"), "body_nl_high.0")
        return x + self._conv(y, "tail.0")

    def _conv(self, x, name, **options):
        kernel = self.tensors[f"{name}.weight"]
        return F.conv2d(x, kernel, self.tensors[f"{name}.bias"], padding=kernel.shape[-1] // 2, **options)

    def _residual_block(self, x, name):
        return x + self._conv(F.relu(self._conv(x, f"{name}.body.0")), f"{name}.body.2")

    def _attention_block(self, x, name):
        h = self._residual_block(x, f"{name}.body.0.RA_RB1.0")
        trunk = h
        for i in range(2):
            trunk = self._residual_block(trunk, f"{name}.body.0.RA_TB.0.body.{i}")
        y = trunk * self._mask(h, f"{name}.body.0.RA_MB.0") + h
        for i in range(2):
            y = self._residual_block(y, f"{name}.body.0.RA_tail.{i}")
        return self._conv(y, f"{name}.body.1")

    def _mask(self, x, name):
        non_local = f"{name}.MB_RB1.0.g.weight" in self.tensors
        if non_local:
            x = self._non_local(x, f"{name}.MB_RB1.0")
        kept = self._residual_block(x, f"{name}.MB_RB1.{int(non_local)}")
        y = self._conv(kept, f"{name}.MB_Down.0", stride=2)
        for i in range(2):
            y = self._residual_block(y, f"{name}.MB_RB2.{i}")
        up = f"{name}.MB_Up.0"
        y = F.conv_transpose2d(y, self.tensors[f"{up}.weight"], self.tensors[f"{up}.bias"], stride=2, padding=2)
        return torch.sigmoid(self._conv(self._residual_block(y + kept, f"{name}.MB_RB3.0"), f"{name}.MB_1x1conv.0"))

    def _non_local(self, x, name):
        g, theta, phi = (self._conv(x, f"{name}.{part}").flatten(2) for part in ("g", "theta", "phi"))
        weights = torch.softmax(torch.matmul(theta.transpose(1, 2), phi), dim=1)
        y = torch.matmul(weights, g.transpose(1, 2)).transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        return x + self._conv(y, f"{name}.W")


def restore_in_halves(network, image: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Restore (1, C, H, W) as the authors' code does: halves of halves with a margin, until they are small.

    Returns:
        The restored image and the number of tiles.
    """
    height, width = image.shape[2:]
    if height * width <= MAX_TILE:
        return network(image), 1
    half_height, half_width = height // 2, width // 2
    high, wide = (-(-(half + SHAVE) // MULTIPLE) * MULTIPLE for half in (half_height, half_width))
    result, count = torch.empty_like(image), 0
    for bottom in (False, True):
        for right in (False, True):
            rows = slice(height - high, height) if bottom else slice(0, high)
            columns = slice(width - wide, width) if right else slice(0, wide)
            tile, tiles = restore_in_halves(network, image[..., rows, columns])
            top, left = (half_height if bottom else 0), (half_width if right else 0)
            down, across = (height if bottom else half_height), (width if right else half_width)
            result[..., top:down, left:across] = tile[
                ..., top - rows.start : down - rows.start, left - columns.start : across - columns.start
            ]
            count += tiles
    return result, count


def paper_size(seed: int = 0) -> Reference:
    """Return the paper's network, 64 filters and ten blocks, with the fixture's names and random weights."""
    generator = torch.Generator().manual_seed(seed)
    with np.load(FIXTURE) as file:
        shapes = {name.removeprefix("state_dict/"): file[name].shape for name in file.files if "state_dict/" in name}
    local = {name: shape for name, shape in shapes.items() if name.startswith("body.0.")}
    del shapes["body.1.weight"], shapes["body.1.bias"]
    for i in range(8):
        shapes |= {name.replace("body.0.", f"body.{i}.", 1): shape for name, shape in local.items()}
    shapes |= {"body.8.weight": (16, 16, 3, 3), "body.8.bias": (16,)}
    wide = {name: [side * 4 if side in (8, 16) else side for side in shape] for name, shape in shapes.items()}
    return Reference({name: 0.05 * torch.randn(shape, generator=generator) for name, shape in wide.items()})


def largest_difference() -> float:
    """Return how far the network is from the authors' code on the fixture, of the range 0-255."""
    with np.load(FIXTURE) as file:
        tensors = {name.removeprefix("state_dict/"): torch.from_numpy(file[name]) for name in file.files}
    with torch.inference_mode():
        restored = Reference(tensors)(tensors["input"])
    return float((restored - tensors["output"]).abs().max())


def seconds(network: Reference, image: torch.Tensor, dtype: str, runs: int) -> tuple[float, int]:
    """Return the median time of whole images, and the number of tiles."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            _, tiles = restore_in_halves(network, image)
        times.append(time.perf_counter() - start)
    return statistics.median(times), tiles


def main() -> None:
    """Check the network, time it and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 768), metavar=("H", "W"), help="%(default)s")
    parser.add_argument("--runs", type=int, default=1, help="medians over so many (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="(%(default)s)")
    args = parser.parse_args()
    print(f"largest difference from the authors' code: {largest_difference():.1e} of 255")
    image = torch.rand((1, 3, *args.size), generator=torch.Generator().manual_seed(0)) * 255
    taken, tiles = seconds(paper_size(), image, args.dtype, args.runs)
    height, width = args.size
    print(
        f"{args.dtype}: {height}x{width} in {tiles} tiles: {taken:.1f} s, {1e6 * taken / height / width:.1f} s/Mpixel"
    )


if __name__ == "__main__":
    main()
