"""How long the page of `make web` takes in Debian's Chromium: milliseconds a tile, seconds a photograph; its size."""

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import skimage.data

from rnan_tf.cli.web import PAGE
from rnan_tf.photos.photo import write_photo
from tests.helpers.web_page import browser, serving

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="denoise")
    parser.add_argument("--size", type=int, nargs=2, default=(1600, 1250), metavar=("W", "H"))
    args = parser.parse_args()
    for text, pattern in (("page", "*.html assets/* *.js *.svg"), ("LiteRT", "litert/*threaded*")):
        contents = [path.read_bytes() for part in pattern.split() for path in PAGE.glob(part)]
        packed = sum(len(gzip.compress(content)) for content in contents)
        print(f"{text:8s} {sum(map(len, contents)) / 1e3:.0f} kB, compressed {packed / 1e3:.0f} kB")
    width, height = args.size
    photograph = skimage.data.astronaut()
    pixels = np.tile(photograph, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    noise = np.random.default_rng(0).normal(0, 25, pixels.shape)
    with tempfile.TemporaryDirectory() as folder, serving(PAGE) as url, browser() as chromium:
        file = Path(folder) / "photo.png"
        write_photo(file, np.rint(np.clip(pixels + noise, 0, 255)).astype(np.uint8))
        done = chromium.do("restore", url, file=file, task=args.task, patience=3600)
    print(f"{args.task}, {width} x {height}: {done['problem'] or done['message']}")
