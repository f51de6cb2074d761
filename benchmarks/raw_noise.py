"""Noisy raw: is the noise taken away before or after demosaicing? `python benchmarks/raw_noise.py --data KODAK24`.

Photographs become DNGs as a camera would write them: photons are counted, at most so many, and three electrons of read
noise added. Prints the table of docs/benchmarks.md: PSNR without denoising, with it on the mosaic's planes, gray or in
colour, and after demosaicing.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from tqdm import tqdm

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.noise import estimate_noise, measure_noise
from rnan_tf.photos.photo import Photo, read_photo
from rnan_tf.photos.raw import RawPhoto, mosaic_planes, read_raw
from rnan_tf.restoring.raw_photos import SPREAD
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.metrics import psnr
from tests.helpers.raw_files import camera_light, sample, write_dng

CFA, READ_NOISE, SIDE = "RGGB", 3.0, 256  # a piece from the middle of each photograph, in pixels
PHOTONS = (4000, 1000, 250)  # that saturate a pixel


def middle(pixels: np.ndarray) -> np.ndarray:
    """Return the piece that is measured."""
    top, left = ((size - SIDE) // 4 * 2 for size in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def expose(light: np.ndarray, photons: int, seed: int) -> np.ndarray:
    """Count the photons of a mosaic, (H, W) of which 1 saturates."""
    rng = np.random.default_rng(seed)
    return (rng.poisson(light.clip(0) * photons) + rng.normal(0, READ_NOISE, light.shape)) / photons


def planes_denoised(mosaic: Photo, denoiser: Restorer, sigma: float) -> Photo:
    """Denoise the four planes one by one."""
    pixels = mosaic.pixels.copy()
    for y, x in np.ndindex(2, 2):
        pixels[y::2, x::2] = denoiser(np.ascontiguousarray(pixels[y::2, x::2]), sigma=sigma)
    return Photo(pixels, None, None, "TIFF")


def colours_denoised(mosaic: Photo, denoiser: Restorer, sigma: float) -> Photo:
    """Denoise the planes as two small colour photographs, with either green; red and blue are the means."""
    pixels = mosaic.pixels.astype(np.float32)
    places = {color: [place for place, c in zip(np.ndindex(2, 2), CFA, strict=True) if c == color] for color in "RGB"}
    (red,), greens, (blue,) = places.values()
    results = {red: [], blue: []}
    for green in greens:
        order = red, green, blue
        small = np.concatenate([mosaic.pixels[y::2, x::2] for y, x in order], axis=2)
        for place, plane in zip(order, np.moveaxis(denoiser(small, sigma=sigma), -1, 0), strict=True):
            results.setdefault(place, []).append(plane)
    for (y, x), planes in results.items():
        pixels[y::2, x::2, 0] = np.mean(planes, axis=0)
    return Photo(np.rint(pixels).astype(np.uint16), None, None, "TIFF")


def ways(raw: RawPhoto, sigma: float, networks: dict[str, Restorer]) -> dict[str, np.ndarray]:
    """Return what each way makes of a raw photograph, told the noise of its mosaic."""
    mosaic = raw.mosaic

    def demosaic(photo: Photo) -> Photo:
        return networks["demosaic"](photo, cfa=raw.cfa)

    plain = demosaic(mosaic)
    found = {
        "no denoising": plain,
        "before, gray": demosaic(planes_denoised(mosaic, networks["denoise-gray"], sigma)),
        "before, colour": demosaic(colours_denoised(mosaic, networks["denoise"], sigma)),
        **{f"after, x{part:g}": networks["denoise"](plain, sigma=part * sigma) for part in (1, 1.3, SPREAD, 2)},
    }
    return {name: raw.develop(photo).pixels for name, photo in found.items()}


def compare(files: list[Path], folder: Path) -> None:
    """Print the PSNR of each way."""
    names = ("demosaic", "denoise", "denoise-gray")
    networks = {name: Restorer.from_preset(name, fast=True) for name in names}
    for photons in PHOTONS:
        rows = []
        for seed, file in enumerate(tqdm(files, desc=str(photons), leave=False, disable=None)):
            clean, dng = middle(read_photo(file).pixels), folder / "photo.dng"
            light = sample(camera_light(clean), CFA)
            write_dng(dng, light, CFA)
            still = read_raw(dng).mosaic.pixels
            write_dng(dng, expose(light, photons, seed), CFA)
            raw = read_raw(dng)
            sigma = float(np.std(raw.mosaic.pixels.astype(float) - still) / 257)
            results = ways(raw, sigma, networks)
            planes = mosaic_planes(raw.mosaic.pixels)
            found = [estimate_noise(planes), measure_noise(planes).visible]
            rows.append([sigma, *found, *(psnr(np.rint(pixels / 257), clean) for pixels in results.values())])
        if photons == PHOTONS[0]:
            print("photons, sigma, estimated, in the quietest tenth", *results, sep=" | ")
        print(f"{photons:7d}", " ".join(f"{value:6.2f}" for value in np.mean(rows, axis=0)), flush=True)


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = Parser(prog="raw_noise.py", description="Noisy camera raw: denoising before or after demosaicing.")
    parser.add_argument("--data", required=True, nargs="+", help="photographs: files, folders or globs")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one photograph in so many")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        compare(list_images(args.data)[:: args.every], Path(folder))


if __name__ == "__main__":
    sys.exit(main())
