"""Camera raw: `python benchmarks/raw.py --data KODAK24`. Prints the table of docs/photographs.md.

Photographs become DNGs as a camera would write them: linear light in the camera's colours, sampled by a Bayer sensor.
What `restore` makes of them stands beside LibRaw's own demosaicing, with the same white balance, matrix and curve.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import rawpy
from skimage.color import deltaE_ciede2000, rgb2lab
from tqdm import tqdm

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.raw import read_raw, srgb_decode, srgb_encode
from rnan_tf.restoring.raw_photos import restore_raw
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.metrics import psnr
from tests.helpers.raw_files import camera_light, sample, write_dng

CFA = "RGGB"


def libraw(path: Path, name: str) -> np.ndarray:
    """Develop by LibRaw alone: (H, W, 3) uint16."""
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm[name],
            use_camera_wb=True,
            output_bps=16,
            gamma=(2.4, 12.92),
            no_auto_bright=True,
            adjust_maximum_thr=0.0,
        )


def difference(a: np.ndarray, b: np.ndarray, block: int = 1) -> float:
    """Return the mean CIEDE2000 of two uint16 photographs, of the mean light of blocks."""
    height, width = (size // block * block for size in a.shape[:2])

    def lab(pixels):
        light = srgb_decode(pixels[:height, :width] / 65535)
        means = light.reshape(height // block, block, width // block, block, 3).mean(axis=(1, 3))
        return rgb2lab(srgb_encode(means))

    return float(deltaE_ciede2000(lab(a), lab(b)).mean())


def compare(files: list[Path], folder: Path) -> None:
    """Print the PSNR of each way, and how far colours are from LibRaw's."""
    restorer, rows = Restorer.from_preset("demosaic", fast=True), []
    for file in tqdm(files, disable=None):
        clean, dng = read_photo(file).pixels, folder / "photo.dng"
        write_dng(dng, sample(camera_light(clean), CFA), CFA)
        ways = {
            "rnan": restore_raw(read_raw(dng), restorer).pixels,
            "AHD": libraw(dng, "AHD"),
            "DHT": libraw(dng, "DHT"),
        }
        scores = [psnr(np.rint(pixels / 257), clean) for pixels in ways.values()]
        far = [difference(ways["rnan"], ways[name], block) for block in (8, 1) for name in ("AHD", "DHT")]
        rows.append([*scores, *far])
        print(f"{file.stem:10s}", " ".join(f"{value:6.2f}" for value in rows[-1]), flush=True)
    print("PSNR of rnan, AHD, DHT; CIEDE2000 to AHD, DHT of blocks of 8x8 pixels, of pixels:")
    print("mean      ", " ".join(f"{value:6.2f}" for value in np.mean(rows, axis=0)))


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = Parser(prog="raw.py", description="Camera raw, compared with LibRaw.")
    parser.add_argument("--data", required=True, nargs="+", help="photographs: files, folders or globs")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        compare(list_images(args.data), Path(folder))


if __name__ == "__main__":
    sys.exit(main())
