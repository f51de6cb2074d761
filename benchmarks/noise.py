"""What `rnan-tf restore` makes of photographs' noise: how often it calls them noisy, and their noise smoothed.

The first should never be with no noise added, the second neither then nor with white noise. Prints the tables of
docs/photographs.md, in percent; the thresholds are those of `rnan_tf.photos.noise`.
"""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from PIL import Image
from scipy import ndimage

from rnan_tf.photos.finding import list_images
from rnan_tf.photos.noise import VISIBLE, estimate_noise, measure_noise
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import sample_photographs

SIGMAS = (0, 3, 5, 10, 25)
TEXTURES = ("brick.png", "grass.png", "gravel.png", "camera.png", "coins.png", "moon.png", "page.png", "text.png")


def noisy(pixels: np.ndarray, sigma: float, blur: float = 0) -> np.ndarray:
    """Add noise, blurred by so many pixels and of that sigma once it is."""
    noise = np.random.default_rng(0).standard_normal(pixels.shape)
    if blur:
        noise = ndimage.gaussian_filter(noise, (blur, blur, 0))
        noise /= noise.std()
    return np.clip(np.rint(pixels + sigma * noise), 0, 255).astype(np.uint8)


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Compress by Pillow's JPEG codec, with halved chroma, and read again."""
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"sigma {sigma}": lambda pixels, sigma=sigma: noisy(pixels, sigma) for sigma in SIGMAS},
    "JPEG 60": lambda pixels: as_jpeg(pixels, 60),
    "JPEG 90": lambda pixels: as_jpeg(pixels, 90),
    **{f"sigma 10, blur {b:g}": lambda pixels, b=b: noisy(pixels, 10, b) for b in (0.8, 1.5)},
    **{f"sigma 10, JPEG {q}": lambda pixels, q=q: as_jpeg(noisy(pixels, 10), q) for q in (60, 75, 95)},
    **{f"sigma 25, JPEG {q}": lambda pixels, q=q: as_jpeg(noisy(pixels, 25), q) for q in (75, 90)},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", help="clean photographs (scikit-image's, textures among them)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one photograph in so many")
    args = parser.parse_args()
    files = list_images(args.data) if args.data else [*sample_photographs(), *sample_photographs(*TEXTURES)]
    files = files[:: args.every]
    counts = {way: np.zeros(3, int) for way in WAYS}
    for file in files:
        pixels = read_photo(file).pixels
        for way, degrade in WAYS.items():
            degraded = degrade(pixels)
            found = measure_noise(degraded)
            counts[way] += found.visible >= VISIBLE, estimate_noise(degraded) >= VISIBLE, found.smoothed
    print(f"{len(files)} photographs, in percent: called noisy; by the usual estimate; called smoothed")
    for way, count in counts.items():
        print(f"{way:20s}", *(f"{100 * each / len(files):4.0f}" for each in count))
