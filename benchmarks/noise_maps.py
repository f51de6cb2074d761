"""What an estimate of the noise from place to place gains over one sigma: `python benchmarks/noise_maps.py`.

Noise of different strength is added to clean photographs; the network is told one estimate for all of it, the map, and
the truth. Prints the table of docs/photographs.md.
"""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from tqdm import tqdm

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.metrics import psnr

# (how far down, how far to the right, both 0 to 1) -> sigma.
NOISES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "5 to 50, left to right": lambda y, x: 5 + 45 * x + 0 * y,
    "10 to 40, top to bottom": lambda y, x: 10 + 30 * y + 0 * x,
    "8 to 50, middle to corners": lambda y, x: 8 + 42 * np.hypot(y - 0.5, x - 0.5) / np.sqrt(0.5),
    "5 to 35, to a corner": lambda y, x: 5 + 30 * y * x,
    "8 and 35, half each": lambda y, x: np.where(x + 0 * y < 0.5, 8.0, 35.0),
    "12 to 20, left to right": lambda y, x: 12 + 8 * x + 0 * y,
    **{f"{sigma} everywhere": lambda y, x, sigma=sigma: sigma + 0 * y * x for sigma in (5, 10, 25, 50)},
}
PARTS = 16  # of the true map


def noisy(clean: np.ndarray, sigma: np.ndarray, seed: int) -> np.ndarray:
    """Add noise to (H, W, C) uint8; sigma is (H, W)."""
    noise = np.random.default_rng(seed).standard_normal(clean.shape) * sigma[..., None]
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def compare(files: list[Path], fast: bool) -> None:
    """Print the PSNR at one sigma, at the map, and at the truth."""
    networks = {3: Restorer.from_preset("denoise", fast=fast), 1: Restorer.from_preset("denoise-gray", fast=fast)}
    middle = (np.arange(PARTS) + 0.5) / PARTS
    print(f"{len(files)} photographs: PSNR of one sigma, the map, the truth; the least that the map gains; maps")
    for name, sigma_at in NOISES.items():
        rows, maps = [], 0
        for seed, file in enumerate(tqdm(files, desc=name, leave=False, disable=None)):
            clean = read_photo(file).pixels
            degraded = noisy(clean, sigma_at(*np.ogrid[0 : 1 : clean.shape[0] * 1j, 0 : 1 : clean.shape[1] * 1j]), seed)
            restorer = networks[clean.shape[2]]
            one = restorer(degraded, sigma=min(estimate_noise(degraded), 75))
            ways = [one, restorer(degraded), restorer(degraded, sigma=sigma_at(middle[:, None], middle[None]))]
            rows.append([psnr(restored, clean) for restored in ways])
            maps += bool((ways[1] != one).any())
        one, ours, truth = np.transpose(rows)
        means = f"{one.mean():6.2f} {ours.mean():6.2f} {truth.mean():6.2f}"
        print(f"{name:28s} {means}  {(ours - one).min():+.2f}  {maps}", flush=True)


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = Parser(prog="noise_maps.py", description="Noise that differs over a photograph: a map against one sigma.")
    parser.add_argument("--data", nargs="+", help="clean photographs: files, folders or globs (scikit-image's)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one photograph in so many")
    parser.add_argument("--fast", action="store_true", help="the int8 networks")
    args = parser.parse_args(argv)
    files = list_images(args.data) if args.data else sample_photographs()
    compare(files[:: args.every], args.fast)


if __name__ == "__main__":
    sys.exit(main())
