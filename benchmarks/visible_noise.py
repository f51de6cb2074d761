"""How often `rnan-tf restore` calls photographs noisy: as they are, which should be never, and with added noise.

Columns: the noise's sigma that was added. Rows: what decides, at the threshold of `rnan_tf.photos.visible_noise`.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from rnan_tf.photos.finding import list_images
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.photos.visible_noise import VISIBLE, visible_noise

SIGMAS = (0, 3, 5, 10, 25)
TEXTURES = ("brick.png", "grass.png", "gravel.png", "camera.png", "coins.png", "moon.png", "page.png", "text.png")
MEASURES = {"quiet tenth": visible_noise, "estimate_noise": estimate_noise}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", help="clean photographs (scikit-image's, textures among them)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one photograph in so many")
    args = parser.parse_args()
    files = list_images(args.data) if args.data else [*sample_photographs(), *sample_photographs(*TEXTURES)]
    noisy = {name: np.zeros(len(SIGMAS), int) for name in MEASURES}
    files = files[:: args.every]
    for file in files:
        pixels = read_photo(file).pixels
        for column, sigma in enumerate(SIGMAS):
            noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
            degraded = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
            for name, measure in MEASURES.items():
                noisy[name][column] += measure(degraded) >= VISIBLE
    print(f"{len(files)} photographs; called noisy, in percent:")
    print("sigma added     ", *(f"{sigma:5d}" for sigma in SIGMAS))
    for name, counts in noisy.items():
        print(f"{name:16s}", *(f"{100 * count / len(files):5.0f}" for count in counts))
