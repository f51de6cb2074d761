"""What the commands of `rnan-tf` do. Each takes the parsed arguments and returns the exit code."""

import contextlib
import csv
import io
import json
import math
import os
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from rnan_tf.cli.options import asked_tiling
from rnan_tf.errors import InputError, JobError, is_out_of_memory
from rnan_tf.files import make_folder, write_atomically
from rnan_tf.network.cost import TILE, multiply_adds
from rnan_tf.network.model import RNAN
from rnan_tf.network.reference_checkpoints import load_reference
from rnan_tf.photos.photo import EXTENSIONS, check_writable, list_images, read_photo, write_photo
from rnan_tf.restoring.evaluation import evaluate
from rnan_tf.restoring.loading import load_model, save_model, trained_task
from rnan_tf.restoring.presets import bundled_name, read_manifest
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.task import get_task

# === restore ===


def run_restore(args) -> int:
    """Restore photographs one after the other; a bad one does not keep the others from it."""
    asked_tiling(tile=args.tile, overlap=args.overlap)  # wrong use is reported before a model is loaded
    files = list_images(args.photos)
    targets = _targets(files, args.output)
    args.model = args.model or _bundled_for(args)
    restorer = Restorer.from_preset(args.model, args.task)
    card, options = restorer.card, _tiling_options(args, restorer)
    tile = restorer.tiling(**options).tile
    estimates = card.conditional and args.level in (None, "auto")
    level = None if estimates else _level(args, restorer)
    blind = not card.conditional and card.strengths and card.strengths[0] < card.strengths[1]
    if args.level and blind:
        raise InputError(f"{args.model}: is not told the {restorer.task.level_name}; leave --level out")
    make_folder(targets[0].parent)
    failed = 0
    for number, (file, target) in enumerate(zip(files, targets, strict=True), 1):
        print(f"[{number}/{len(files)}] {file} -> {target}", flush=True)
        try:
            photo = read_photo(file)
            check_writable(target, photo)
            if estimates:
                level = restorer.strength_for(photo.pixels)
                if restorer.task.estimate_level:
                    print(f"{restorer.task.level_name} {level:.1f}, estimated")
            strength = {card.strength: level} if card.conditional else {}
            with _bar() as progress:
                photo = restorer(
                    photo, self_ensemble=args.self_ensemble, cfa=args.cfa, progress=progress, **options, **strength
                )
            write_photo(target, photo)
        except Exception as error:
            _report(error, file, tile, alone=len(files) == 1)
            failed += 1
    if failed and len(files) > 1:
        print(f"error: {failed} of {len(files)} photographs could not be restored", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def _bar():
    """Yield a `progress` that shows a bar over the tiles, on a terminal."""
    with tqdm(unit="tile", leave=False, disable=None) as bar:

        def progress(done, total):
            bar.total = total
            bar.update()

        yield progress


def _bundled_for(args):
    if not args.task:
        raise InputError("give --task, whose bundled network is taken then, or --model")
    task = get_task(args.task)
    return bundled_name(task, _single_level(args, task) if task.name == "sr" else 0)


def _report(error, file, tile, alone):
    """Say in a line why a photograph was skipped; what is not the photograph's fault is raised again."""
    if is_out_of_memory(error):
        message = f"out of memory; give a smaller --tile than {tile}, or crop the photograph"
    elif isinstance(error, (InputError, JobError)):
        message = str(error)
    else:
        raise error
    if str(file) not in message:
        message = f"{file}: {message}"
    print(f"{'error' if alone else 'skipped'}: {' '.join(message.splitlines())}", file=sys.stderr)


def _targets(files, output):
    """Return where each restored file goes; nothing is ever written over an input."""
    path = Path(output)
    is_image = path.suffix.lower() in EXTENSIONS and not path.is_dir()
    if len(files) > 1 and is_image:
        raise InputError(f"-o {output} is one file, but there are {len(files)} photographs; name a folder")
    to_folder = len(files) > 1 or path.is_dir() or not path.suffix or output.endswith(os.sep)
    if not to_folder and not is_image:
        raise InputError(
            f"-o {output} is neither a folder nor an image's name; "
            f"end it in {os.sep} or in one of {' '.join(EXTENSIONS)}"
        )
    targets = [path / file.name for file in files] if to_folder else [path]
    twice = [str(target) for target, count in Counter(targets).items() if count > 1]
    if twice:
        raise InputError(f"two photographs would be written to {twice[0]}; restore their folders one at a time")
    _keep_inputs(targets, files)
    return targets


def _keep_inputs(outputs, inputs):
    inputs = {file.resolve() for file in inputs}
    for output in outputs:
        if output.resolve() in inputs:
            raise InputError(f"{output} is an input and would be written over; name another place")


def _level(args, restorer):
    """Return the single level to work at."""
    task = restorer.task
    if args.level == "auto":
        raise InputError(f"{args.model}: is not told the level, which has not to be estimated; leave --level out")
    if args.level is None:
        return restorer.default_strength
    return restorer.check_strength(_single_level(args, task))


def _single_level(args, task):
    low, high = task.parse_level(args.level)
    if low != high:
        raise InputError(f"--level must be a single level here; got {args.level}")
    return low


def _tiling_options(args, restorer):
    """Return the tiles that were asked for, which an exported model of a fixed tile does not take."""
    options = {"tile": args.tile, "overlap": args.overlap}
    if restorer.card.tile is not None and any(value is not None for value in options.values()):
        raise InputError(f"{args.model}: its tiles have a fixed size; leave --tile and --overlap out")
    return options


# === evaluate ===


def run_evaluate(args) -> int:
    """Measure a model, or the degraded input."""
    task = get_task(args.task)
    asked_tiling(tile=args.tile, overlap=args.overlap)
    if args.subsampling:
        task = task.with_subsampling(args.subsampling)
    if args.self_ensemble and not args.model:
        raise InputError("--self-ensemble needs --model")
    level = _single_level(args, task)
    files = list_images(args.data)
    reports = [Path(path) for path in (args.json, args.csv) if path]
    _keep_inputs(reports, files)
    predict = tiling = None
    if args.model:
        restorer = Restorer.from_preset(args.model, args.task)
        level = _level(args, restorer)
        predict = restorer.predictor(level, args.self_ensemble)
        tiling = restorer.tiling(**_tiling_options(args, restorer), margin=args.self_ensemble)
    for report in reports:
        make_folder(report.parent)
    bar = tqdm(files, unit="image", leave=False, disable=None)
    images = ((file.name, read_clean(file, task, level)) for file in bar)
    result = evaluate(images, task, level, predict, tiling, args.seed)
    width = max(len(row["name"]) for row in result["images"])
    for row in [*result["images"], {"name": "mean", **result["mean"]}]:
        blocking = f"  PSNR-B {row['psnrb']:6.2f} dB" if "psnrb" in row else ""
        print(f"{row['name']:{width}s}  {row['psnr']:6.2f} dB  {row['ssim']:.4f}{blocking}")
    if args.json:
        write_atomically(args.json, json.dumps(_json_data(result), indent=2).encode())
    if args.csv:
        write_atomically(args.csv, _csv(result["images"]).encode("utf-8", "backslashreplace"))
    return 0


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


# === convert, info ===


def run_convert(args) -> int:
    """Turn a checkpoint of the reference into a Keras model."""
    output = Path(args.output)
    if output.suffix != ".keras":
        raise InputError(f"{args.output}: the output's name must end in .keras")
    task = get_task(args.task) if args.task else None
    if args.level and not task:
        raise InputError("--level needs --task")
    if task and task.level_name and task.name != "sr" and not args.level:
        raise InputError(f"give --level, the {task.level_name} that the checkpoint was trained for")
    levels = task.parse_level(args.level) if task else None
    model = load_reference(args.checkpoint)
    model.metadata["converted_from"] = Path(args.checkpoint).name
    if task:
        model.metadata["task"] = task.name
        model.metadata["level"] = levels if task.level_name else None
        _, limits = trained_task(model, args.checkpoint, task.name)
        if task.name == "sr":
            if args.level and levels != limits:
                raise InputError(f"{args.checkpoint}: enlarges by {model.scale}, not by {args.level}")
            model.metadata["level"] = limits
    make_folder(output.parent)
    save_model(model, output)
    print(f"wrote {args.output}: {model.count_params():,} parameters, scale x{model.scale}")
    return 0


def run_info(args) -> int:
    """Print what a model is, or the bundled networks."""
    if args.model is None:
        for name, entry in read_manifest().items():
            print(f"{name:13s} validation {entry['validation_psnr']:.2f} dB, {entry['hours']} h of training")
        return 0
    for heading, text in describe(load_model(args.model)).items():
        print(f"{heading:15s} {text}")
    return 0


def describe(model: RNAN) -> dict[str, str]:
    """Return lines of text about a model, by heading."""
    metadata = model.metadata
    level = metadata.get("level")
    levels = level if isinstance(level, (list, tuple)) else [level]
    lines = {
        "task": metadata.get("task", "not recorded"),
        "level": "none" if level is None else "-".join(dict.fromkeys(f"{value:g}" for value in levels)),
        "input": f"{model.channels} channel(s), any size" + (", and the level" if model.conditional else ""),
        "scale": f"x{model.scale}",
        "network": f"{model.filters} filters, {model.num_blocks} blocks, normalised over {model.normalize_over}",
        "parameters": f"{model.count_params():,}",
        "multiply-adds": f"{multiply_adds(model) / 1e6:.3g} million a pixel (tile of {TILE}x{TILE})",
    }
    return lines | {key: str(value) for key, value in metadata.items() if key not in ("task", "level")}
