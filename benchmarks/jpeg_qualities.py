"""Does `jpeg-color` make any quality worse? `python benchmarks/jpeg_qualities.py --data Kodak24 CBSD68`.

PSNR over RGB before and after, means over each folder, at qualities 5 to 95 and both subsamplings of chroma.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

from tqdm import tqdm

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.photos.finding import list_images
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import score

SUBSAMPLINGS = ("4:2:0", "4:4:4")


def gain(restorer: Restorer, folder: Path, subsampling: str, quality: int, every: int) -> tuple[float, float]:
    """Return the mean PSNR, in dB, of a folder's compressed images, and of the restored ones.

    Args:
        restorer: the network.
        folder: clean images.
        subsampling: of the chroma.
        quality: of the codec, 1-100.
        every: take one image in so many.
    """
    task = restorer.task.with_subsampling(subsampling)
    images = ((file.name, read_clean(file, task)) for file in list_images([folder])[::every])
    before, after = [], []
    for image in evaluate(images, task, quality, restorer.predictor(quality), restorer.tiling()):
        before.append(score(image.degraded, image.clean, task.scoring))
        after.append(image.scores)
    return mean_scores(before)["psnr"], mean_scores(after)["psnr"]


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line, measure, print the table and its least gain."""
    parser = Parser(prog="jpeg_qualities.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, nargs="+", type=Path, metavar="FOLDER", help="clean test sets")
    parser.add_argument("--model", default="jpeg-color", help="as for restore (jpeg-color)")
    parser.add_argument("--fast", action="store_true", help="the int8 network")
    parser.add_argument("--qualities", nargs="+", type=int, default=list(range(5, 100, 5)), metavar="Q")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one image in so many")
    args = parser.parse_args(argv)
    restorer = Restorer.from_preset(args.model, fast=args.fast)
    columns = [(folder, subsampling) for folder in args.data for subsampling in SUBSAMPLINGS]
    print(f"| quality | {' | '.join(f'{folder.name}, {subsampling}' for folder, subsampling in columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    gains = {}
    for quality in tqdm(args.qualities, leave=False, disable=None):
        cells = []
        for folder, subsampling in columns:
            before, after = gain(restorer, folder, subsampling, quality, args.every)
            gains[after - before] = f"{folder.name}, {subsampling}, quality {quality}"
            cells.append(f"{before:.2f} {after - before:+.2f}")
        tqdm.write(f"| {quality} | {' | '.join(cells)} |", file=sys.stdout)
    print(f"\nthe least gain: {min(gains):+.3f} dB ({gains[min(gains)]})")


if __name__ == "__main__":
    sys.exit(main())
