"""Measure a network, or the degraded input alone: `rnan-tf evaluate --task TASK --data IMAGES`."""

import csv
import io
import json
import math
import os
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rnan_tf.cli.jobs import keep_inputs, model_files
from rnan_tf.cli.options import (
    add_computation,
    add_strengths,
    add_task,
    add_tiling,
    asked_strength,
    check_backend,
    one_thread_an_operator,
)
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command, printable
from rnan_tf.files import make_folder, write_atomically
from rnan_tf.photos.finding import list_images
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.tiling import asked_tiling
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.pairs import list_pairs, read_pairs
from rnan_tf.tasks.task import NOISES, SUBSAMPLINGS, get_task


@command
def main(argv: list[str] | None = None) -> int:
    """Measure, print a line for each image, and write the files that were asked for."""
    args = build_parser().parse_args(argv)
    task = get_task(args.task).with_subsampling(*([args.subsampling] if args.subsampling else []))
    sizes = {"tile": args.tile, "overlap": args.overlap}
    tiling = asked_tiling(**sizes)
    check_backend(args.backend, args.model)
    if args.model:
        one_thread_an_operator(args.model)
    if args.self_ensemble and not args.model:
        raise InputError("--self-ensemble needs --model")
    asked = asked_strength(args, task)
    task = _degraded(task, args, asked)
    strength = task.nearest((0, 100)) if asked is None else asked
    files = list_pairs(*args.pairs) if args.pairs else list_images(args.data)
    reports = [Path(path) for path in (args.json, args.csv) if path]
    inputs = [file for pair in files for file in pair] if args.pairs else files
    if len({os.path.realpath(report) for report in reports}) < len(reports):
        raise InputError(f"`json` and `csv` are both {args.csv}; name two files")
    keep_inputs(reports, [*inputs, *model_files(args.model)])
    predict = restore_alone = None
    if args.model:
        restorer = Restorer.from_preset(args.model, args.task, precision=args.precision)
        tiling = restorer.tiling(**sizes, margin=args.self_ensemble)
        if asked is None and task.strength is None and restorer.estimates:
            restore_alone = partial(restorer, self_ensemble=args.self_ensemble, **sizes)
        else:
            strength = restorer.default_strength if asked is None else restorer.check_strength(asked)
            predict = restorer.predictor(strength, args.self_ensemble)
    for report in reports:
        make_folder(report.parent)
    bar = tqdm(files, unit="image", leave=False, disable=None)
    images = read_pairs(bar, task) if args.pairs else ((file.name, read_clean(file, task)) for file in bar)
    found = evaluate(images, task, strength, predict, tiling, args.seed, restore_alone)
    rows = [{"name": image.name, **image.scores} for image in found]
    mean = mean_scores({key: row[key] for key in row if key != "name"} for row in rows)
    _print(rows, mean)
    if args.json:
        measured = {"task": task.name, "strength": strength if task.strength else None, "mean": mean, "images": rows}
        write_atomically(args.json, json.dumps(_json_data(measured), indent=2).encode())
    if args.csv:
        write_atomically(args.csv, _csv(rows).encode("utf-8", "backslashreplace"))
    return 0


def build_parser() -> Parser:
    """Return the parser of `rnan-tf evaluate`."""
    parser = Parser(prog="rnan-tf evaluate", description="PSNR and SSIM by the paper's protocol, for JPEG also PSNR-B.")
    add_task(parser, "how images are degraded and measured", required=True)
    add_strengths(
        parser,
        "the noise's, 0-255 scale (50); of --pairs and --noise camera, what --model is told (estimated)",
        "of the JPEG codec, 1-100 (10)",
    )
    parser.add_argument(
        "--noise", choices=NOISES, default=NOISES[0], help="of denoise: camera depends on the light (gaussian)"
    )
    parser.add_argument("--subsampling", choices=SUBSAMPLINGS, help="of the chroma, for jpeg-color (4:2:0)")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--data", nargs="+", help="clean images: files, folders or globs")
    images.add_argument(
        "--pairs",
        nargs=2,
        metavar=("DEGRADED", "CLEAN"),
        help="a folder of degraded images and one of the same ones clean, under the same names",
    )
    parser.add_argument("--model", metavar="M", help="as for restore; default: measure the degraded input")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    parser.add_argument("--csv", metavar="FILE", help="write a row for each image here")
    add_computation(parser)
    add_tiling(parser)
    return parser


def _degraded(task, args, asked):
    """Return the task with the degradation that is asked for."""
    degraded = task.with_noise(args.noise)
    if args.pairs:
        if degraded != task or args.subsampling:
            raise InputError("`pairs` are degraded already; leave `noise` and `subsampling` out")
        degraded = task.of_pairs()
    if degraded.strength is None and asked is not None and not args.model:
        raise InputError(f"`{task.strength.name}` is what `model` is told here; give that, or leave it out")
    return degraded


def _print(rows, mean):
    rows = [{**row, "name": printable(row["name"])} for row in [*rows, {"name": "mean", **mean}]]
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        blocking = f"  PSNR-B {row['psnrb']:6.2f} dB" if "psnrb" in row else ""
        print(f"{row['name']:{width}s}  {row['psnr']:6.2f} dB  {row['ssim']:.4f}{blocking}")


def _json_data(value):
    """Replace infinity (equal images) and not-a-number, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _json_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_data(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
