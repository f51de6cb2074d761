"""Measure the bundled networks on the paper's test sets: `python benchmarks/results.py --data TEST_SETS`.

TEST_SETS is a folder with Kodak24/, CBSD68/, BSD68/, Classic5/, Set5/ and Set14/. Prints the table and writes
docs/results.md. Every measurement goes into the network's entry of the manifest as soon as it is made: run again, it
resumes, and measures networks that were bundled since.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import numpy as np
import skimage.data
from tqdm import tqdm

from rnan_tf.cli.options import one_thread_an_operator
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.files import write_atomically
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.photo import Photo, write_photo
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.metrics import score
from rnan_tf.training.report import panel
from rnan_tf.weights import read_manifest, score_key, write_manifest

PAGE = ROOT / "docs" / "results.md"
# (task, test set) -> {strength, 0 without: (the paper's RNAN, then the rivals that it prints)}; PSNR, dB.
PUBLISHED = {
    ("denoise", "Kodak24"): {
        10: ("37.24", "DnCNN 36.98, CBM3D 36.57"),
        30: ("31.86", "DnCNN 31.39, CBM3D 30.89"),
        50: ("29.58", "DnCNN 29.16, CBM3D 28.63"),
        70: ("28.16", "DnCNN 27.64, CBM3D 27.27"),
    },
    ("denoise", "CBSD68"): {
        10: ("36.43", "DnCNN 36.31"),
        30: ("30.63", "DnCNN 30.40"),
        50: ("28.27", "DnCNN 28.01, FFDNet 27.96, CBM3D 27.38"),
        70: ("26.83", "DnCNN 26.56"),
    },
    ("denoise-gray", "BSD68"): {
        10: ("34.04", "DnCNN 33.88, BM3D 33.31"),
        30: ("28.61", "DnCNN 28.36, BM3D 27.76"),
        50: ("26.48", "DnCNN 26.23, BM3D 25.62"),
        70: ("25.18", "DnCNN 24.90, BM3D 24.44"),
    },
    ("demosaic", "Kodak24"): {0: ("43.09", "IRCNN 40.41")},
    ("demosaic", "CBSD68"): {0: ("42.50", "IRCNN 39.96")},
    ("jpeg", "Classic5"): {
        10: ("29.96", "DnCNN 29.40, ARCNN 29.04"),
        20: ("32.11", "DnCNN 31.63, ARCNN 31.16"),
        30: ("33.38", "DnCNN 32.91, ARCNN 32.52"),
        40: ("34.27", "DnCNN 33.77, ARCNN 33.34"),
    },
    ("jpeg-color", "Kodak24"): {10: ("", ""), 40: ("", "")},
    ("jpeg-color", "CBSD68"): {10: ("", "")},
    ("sr-x2", "Set5"): {0: ("38.17", "EDSR 38.11")},
    ("sr-x2", "Set14"): {0: ("33.87", "EDSR 33.92")},
    ("sr-x3", "Set5"): {0: ("", "")},
    ("sr-x3", "Set14"): {0: ("", "")},
    ("sr-x4", "Set5"): {0: ("32.49", "EDSR 32.46")},
    ("sr-x4", "Set14"): {0: ("28.83", "EDSR 28.80")},
}
# What the page's crops are of: photographs of scikit-image, which no network was trained on.
CROPS = (("denoise", 30), ("denoise-gray", 30), ("demosaic", 0), ("jpeg", 10), ("sr-x2", 0), ("sr-x4", 0))
CROP_PHOTOGRAPH = "coffee.png"


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure what is missing, print and write the table."""
    parser = Parser(prog="results.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder that holds the test sets")
    parser.add_argument(
        "--self-ensemble", nargs="*", metavar="SET", help="also over 8 turns and flips, 8 times slower; only these sets"
    )
    args = parser.parse_args(argv)
    one_thread_an_operator(None)
    ensembles = args.self_ensemble if args.self_ensemble is not None else []
    every_set = args.self_ensemble == []
    for use_ensemble in (False, True):
        for (task, test_set), strengths in PUBLISHED.items():
            if not use_ensemble or every_set or test_set in ensembles:
                for strength in strengths:
                    measure(task, test_set, strength, use_ensemble, args.data)
    make_crops()
    page = as_page()
    write_atomically(PAGE, page.encode())
    print(page)
    return 0


def measure(task_name: str, test_set: str, strength: int, use_ensemble: bool, data: Path) -> None:
    """Measure a preset on a test set, if there is one and it has not been measured; write the manifest.

    Args:
        task_name: the task.
        test_set: the folder's name.
        strength: in the user's unit.
        use_ensemble: whether to average over turns and flips.
        data: the folder that holds the test sets.

    Raises:
        InputError: a test set is missing.
    """
    entry = read_manifest().get(task_name)
    if entry is None or score_key(test_set, strength, use_ensemble) in entry.get("test", {}):
        return
    if not (data / test_set).is_dir():
        raise InputError(f"{data / test_set}: no such test set")
    restorer = Restorer.from_preset(task_name)
    task, start = restorer.task, time.perf_counter()
    name = f"{task_name} {strength or ''} {test_set}{' self-ensemble' if use_ensemble else ''}"
    files = tqdm(list_images([data / test_set]), desc=name, unit="image", leave=False)
    images = ((file.name, read_clean(file, task)) for file in files)
    scores, inputs = [], []
    tiling = restorer.tiling(margin=use_ensemble)
    for image in evaluate(images, task, strength, restorer.predictor(strength, use_ensemble), tiling):
        scores.append(image.scores)
        inputs.append(score(task.baseline(image.degraded), image.clean, task.scoring))
    result = {
        **{metric: round(value, 4) for metric, value in mean_scores(scores).items()},
        "input_psnr": round(mean_scores(inputs)["psnr"], 4),
        "seconds": round(time.perf_counter() - start, 1),
    }
    manifest = read_manifest()
    manifest[task_name].setdefault("test", {})[score_key(test_set, strength, use_ensemble)] = result
    write_manifest(manifest)


def make_crops() -> None:
    """Write before/after/truth pictures into docs/images."""
    photograph = Path(skimage.data.__file__).parent / CROP_PHOTOGRAPH
    for task_name, strength in CROPS:
        if task_name not in read_manifest():
            continue
        restorer = Restorer.from_preset(task_name)
        task = restorer.task
        images = [(CROP_PHOTOGRAPH, read_clean(photograph, task)[100:340, 120:440])]
        (image,) = evaluate(images, task, strength, restorer.predictor(strength))
        picture = np.ascontiguousarray(panel(task.baseline(image.degraded), image.restored, image.clean))
        write_photo(_crop_path(task_name, strength), Photo(picture, None, None, "PNG"))


def _crop_path(task_name, strength):
    return PAGE.parent / "images" / f"results-{task_name}{f'-{strength}' if strength else ''}.png"


def as_page() -> str:
    """Return the page's Markdown."""
    lines = [
        "# Results",
        "",
        "The bundled `rnan_lite` networks on whole test sets, by the paper's protocol, beside what the paper prints",
        "(its RNAN has four times their parameters, at full resolution). PSNR in dB, SSIM in brackets; `+` is the",
        "self-ensemble over 8 turns and flips. Nothing was chosen by these numbers. Written by",
        "`make results DATA=TEST_SETS`, with `ENSEMBLE=1` also the `+` column.",
        "",
        "| task | strength | test set | input | `rnan_lite` | `rnan_lite`+ | RNAN (paper) | rivals (paper) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (task_name, test_set), strengths in PUBLISHED.items():
        for strength, (paper, rivals) in strengths.items():
            tests = read_manifest().get(task_name, {}).get("test", {})
            found = [tests.get(score_key(test_set, strength, ensemble)) for ensemble in (False, True)]
            ours = [f"{row['psnr']:.2f} ({row['ssim']:.4f})" if row else "not measured" for row in found]
            before = f"{found[0]['input_psnr']:.2f}" if found[0] else ""
            what = f"{task_name} | {strength or ''}"
            lines.append(f"| {what} | {test_set} | {before} | {ours[0]} | {ours[1]} | {paper} | {rivals} |")
    lines += ["", "## The networks", "", "| name | validation PSNR | hours of training | code |", "|---|---|---|---|"]
    for name, entry in read_manifest().items():
        at = f" at {entry['validation_strength']:g}" if entry["validation_strength"] else ""
        lines.append(
            f"| `{name}` | {entry['validation_psnr']:.2f} dB{at}, {entry['validation_photographs']} photographs | "
            f"{entry['hours']} | {entry['code']} |"
        )
    lines += ["", "Their commands (run on 2 cores that other jobs shared):", "", "```sh"]
    lines += dict.fromkeys(line for entry in read_manifest().values() for line in entry["commands"])
    lines += ["```", "", "## Before, after, truth", "", f"scikit-image's `{CROP_PHOTOGRAPH}`, degraded on purpose.", ""]
    for task_name, strength in CROPS:
        if _crop_path(task_name, strength).exists():
            lines += [
                f"{task_name} {strength or ''}".strip(),
                "",
                f"![](images/{_crop_path(task_name, strength).name})",
                "",
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
