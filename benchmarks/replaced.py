"""Is a network worse anywhere than the one that it replaces? `python benchmarks/replaced.py --models OLD NEW`.

PSNR of both on colourful, written and dark photographs of scikit-image, which no network was trained on and no test set
holds, and, with `--crops`, the most detailed piece of each before, after and in truth: the old network's above the
new one's.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import numpy as np

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command
from rnan_tf.files import make_folder
from rnan_tf.photos.photo import Photo, write_photo
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.evaluation import evaluate
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.training.report import panel

COLOURFUL, WRITTEN, DARK = ("astronaut.png", "coffee.png", "color.png"), ("page.png", "text.png"), ("rocket.jpg",)
# Of the noise, and of JPEG.
STRENGTHS = {"sigma": (10, 25, 50), "quality": (10, 40, 80)}


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line, measure, print the table, write the crops."""
    parser = Parser(prog="replaced.py", description=__doc__.splitlines()[0])
    parser.add_argument("--models", required=True, nargs=2, metavar=("OLD", "NEW"), help="as for restore")
    parser.add_argument("--crops", type=Path, metavar="FOLDER", help="write pictures here")
    args = parser.parse_args(argv)
    old, new = (Restorer.from_preset(model) for model in args.models)
    task, files = new.task, sample_photographs(*COLOURFUL, *WRITTEN, *DARK)
    images = [(file.stem, read_clean(file, task)) for file in files]
    print("| photograph | strength | old, dB | new, dB | difference |\n|---|---|---|---|---|")
    for strength in STRENGTHS.get(task.strength.name if task.strength else "", (0,)):
        pairs = [evaluate(images, task, strength, each.predictor(strength), each.tiling()) for each in (old, new)]
        for before, after in zip(*pairs, strict=True):
            scores = [each.scores["psnr"] for each in (before, after)]
            row = f"{after.name} | {strength or ''} | {scores[0]:.2f} | {scores[1]:.2f} | {scores[1] - scores[0]:+.2f}"
            print(f"| {row} |", flush=True)
            if args.crops:
                degraded = task.baseline(after.degraded)
                strip = np.concatenate([panel(degraded, each.restored, after.clean) for each in (before, after)])
                make_folder(args.crops)
                name = f"{task.name}-{after.name}{f'-{strength}' if strength else ''}.png"
                write_photo(args.crops / name, Photo(strip, None, None, "PNG"))


if __name__ == "__main__":
    sys.exit(main())
