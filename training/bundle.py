"""Put the best network of a finished run among the bundled ones: `python training/bundle.py --run runs/denoise`.

Writes rnan_tf/weights/NAME.keras with float16 weights, its int8 network NAME-int8.tflite for `--fast`, and what is
known about both into rnan_tf/weights/manifest.json and training/recipes/NAME.json. `--fast NAME...` makes the int8
networks of presets anew.
"""

import dataclasses
import hashlib
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

from rnan_tf import weights as bundled
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command
from rnan_tf.export.patches import cut_patches
from rnan_tf.export.tflite.exporting import PATCHES, add_card, choose_recipes, convert, make_variant
from rnan_tf.extras import check_extra
from rnan_tf.files import make_folder, replacing, write_atomically
from rnan_tf.network.loading import save_model
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.task import get_task
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.training.data import read_split
from rnan_tf.training.folder import RunFolder
from rnan_tf.training.split import training_files

RECIPES = Path(__file__).parent / "recipes"
# What float16 storage may cost on the validation photographs, and int8 on the whole test set, dB.
FLOAT16_TOLERANCE, INT8_TOLERANCE = 0.01, 0.1
# Task -> the test set that the int8 network is measured on, at the task's default strength.
TEST_SETS = {
    "denoise": "Kodak24",
    "denoise-gray": "BSD68",
    "demosaic": "Kodak24",
    "jpeg": "Classic5",
    "jpeg-color": "Kodak24",
    "sr-x2": "Set5",
    "sr-x3": "Set5",
    "sr-x4": "Set5",
}


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, store the networks, and print their manifest entries."""
    parser = Parser(prog="bundle.py", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, help="the folder of a finished training run")
    what.add_argument("--fast", nargs="+", metavar="NAME", help="only make these presets' int8 networks anew")
    parser.add_argument("--test-sets", required=True, type=Path, help="the folder that holds the test sets")
    args = parser.parse_args(argv)
    for name in args.fast or [store(args.run)]:
        store_fast(name, args.test_sets)
        print(json.dumps({name: bundled.read_manifest()[name]}, indent=2))
    return 0


def store(run_dir: Path) -> str:
    """Put the best network of a run among the presets, and return its name.

    Args:
        run_dir: the run's folder.

    Raises:
        InputError: it is not that of a finished run.
        JobError: the run goes on, or float16 loses too much.
    """
    runtime = KerasRuntime.open(run_dir)
    task = get_task(runtime.card.task)
    config, (commands, hours_spent, options) = read_config(run_dir / "config.json"), history(run_dir)
    folder = RunFolder(run_dir)
    folder.lock()  # fails while the run goes on, whose best network may be still to come
    folder.release()
    if config.degraded_task.strength != task.strength:
        raise InputError(
            f"{run_dir}: trained on pairs or camera noise, and presets are for the degradation of their task"
        )
    make_folder(bundled.FOLDER)
    target = bundled.FOLDER / f"{task.name}.keras"
    strength = task.nearest(runtime.card.strengths)
    split = read_split(run_dir)  # which runs of version 0.1 do not have
    held_out = (
        [photograph.file for photograph in split.validation]
        if split
        else training_files(config.data, config.val_data, config.skip_subsampled)[1]
    )
    images = read_images(held_out, task)
    with replacing(target) as temporary:
        save_model(runtime.model.rebuild(dtype="float16"), temporary)
        scores = [measure(each, images, strength) for each in (runtime, KerasRuntime.open(temporary))]
        if not scores[0] - scores[1] <= FLOAT16_TOLERANCE:
            raise JobError(f"{target}: float16 weights lose {scores[0] - scores[1]:.3f} dB; not written")
    entry = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "code": runtime.card.details.get("code"),
        "run": run_dir.name,
        "commands": commands,
        "data": [Path(path).name for path in config.data],
        "hours": round(hours_spent, 2),
        "validation_photographs": len(images),
        "validation_strength": strength if task.strength else None,
        "validation_psnr": round(scores[1], 3),
        "float16_loss": round(scores[0] - scores[1], 4),
    }
    manifest = dict(sorted({**bundled.read_manifest(), task.name: entry}.items()))
    bundled.write_manifest(manifest)
    write_recipe(task.name, entry, options | ({"network": config.network} if config.network else {}))
    return task.name


def store_fast(name: str, test_sets: Path) -> None:
    """Make a preset's int8 network and store it beside the preset.

    Args:
        name: the preset's.
        test_sets: the folder that holds the test sets.

    Raises:
        InputError: there is no such preset or test set.
        JobError: int8 loses too much.
    """
    check_extra("tflite", "the int8 network")
    runtime = KerasRuntime.open(name)
    task, tile = get_task(runtime.card.task), runtime.tiling.tile
    card = replace(runtime.card, tile=tile, overlap=runtime.tiling.overlap)
    patches = cut_patches(sample_photographs(), task, card.strengths, tile, PATCHES)
    network = convert(runtime.model, tile)
    recipe = choose_recipes(["int8"], add_card(network, card), patches)[0]["int8"]
    strength = task.nearest(card.strengths)
    images = read_images([test_sets / TEST_SETS[name]], task)
    key = bundled.score_key(TEST_SETS[name], strength)
    scores = bundled.read_manifest()[name].get("test", {}).get(key) or {"psnr": measure(runtime, images, strength)}
    int8 = LiteRtRuntime.from_content(name, make_variant(network, card, "int8", recipe, patches))
    loss = scores["psnr"] - measure(int8, images, strength)
    if not loss <= INT8_TOLERANCE:  # so that NaN fails
        raise JobError(f"{name}: int8 loses {loss:.3f} dB on {key}; not written")
    card = card.with_details(int8_loss={key: round(loss, 4)})
    target = bundled.FOLDER / f"{name}-int8.tflite"
    write_atomically(target, make_variant(network, card, "int8", recipe, patches))
    manifest = bundled.read_manifest()
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    manifest[name]["fast"] = {"file": target.name, "sha256": sha256, "loss": card.details["int8_loss"]}
    bundled.write_manifest(manifest)


def measure(runtime: Runtime, images, strength: float) -> float:
    """Return a model's mean PSNR on clean images, dB."""
    restorer = Restorer(runtime)
    found = evaluate(images, restorer.task, strength, restorer.predictor(strength), restorer.tiling())
    return mean_scores(image.scores for image in found)["psnr"]


def history(run_dir: Path) -> tuple[list[str], float, dict[str, Any]]:
    """Return how a network came to be, following `--init`.

    Args:
        run_dir: the run that ended with it.

    Returns:
        (command lines, the first run's first; hours of all of them; the options of this run).

    Raises:
        InputError: a run's folder or configuration is missing.
    """
    config = read_config(run_dir / "config.json")
    commands, hours_before, start = [], 0.0, ""
    if preset := _preset_that_is(config.init):
        entry = bundled.read_manifest()[preset]
        if entry["run"] == run_dir.name:
            raise InputError(f"{run_dir}: preset {preset}, which it began with, is of this run; give it another name")
        commands, hours_before, start = entry["commands"], entry["hours"], entry["run"]
    elif config.init:
        folder = Path(config.init)
        folder = folder.parent if folder.is_file() else folder
        commands, hours_before, _ = history(folder)
        start = folder.name
    options = given_options(config, start)
    return [*commands, as_command(run_dir, options)], hours_before + hours(run_dir), options


def _preset_that_is(init: str | None) -> str | None:
    """Return the preset that a run began with: by its name, or by its file, whatever the folder."""
    path = Path(init or "")
    if not path.is_file():
        return init if init in bundled.read_manifest() and not path.exists() else None
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return next((name for name, entry in bundled.read_manifest().items() if entry["sha256"] == content), None)


def given_options(config: TrainConfig, start: str) -> dict[str, Any]:
    """Return the options that a run was given, with the last names of its folders; `start` is that of `--init`."""
    options = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if (value == field.default and field.name != "task") or "help" not in field.metadata:
            continue
        if field.name == "init":
            value = f"runs/{start}"
        options[field.name] = [Path(path).name for path in value] if isinstance(value, tuple) else value
    return options


def as_command(run_dir: Path, options: dict[str, Any]) -> str:
    """Return the command line of a run, from `given_options`."""
    words = ["python", "training/train.py"]
    for name, value in options.items():
        values = value if isinstance(value, list) else [] if value is True else [str(value)]
        words += [f"--{name.replace('_', '-')}", *values]
    return shlex.join([*words, "--run-dir", f"runs/{run_dir.name}"])


def write_recipe(name: str, entry: dict[str, Any], options: dict[str, Any]) -> None:
    """Write the recipe of a preset, training/recipes/NAME.json; what it says of its photographs is kept.

    Args:
        name: the preset's.
        entry: its entry of the manifest.
        options: its last run's, from `given_options`.
    """
    path, data = RECIPES / f"{name}.json", "folders of photographs; give yours by --data"
    if path.exists():
        data = json.loads(path.read_text())["about"]["data"]
    *before, command = entry["commands"]
    at = get_task(name).at(entry["validation_strength"] or 0)
    score = f"{entry['validation_psnr']} dB on {entry['validation_photographs']} held-out photographs{at}"
    about = {"hours": entry["hours"], "score": score, "command": command, "data": data}
    about |= {"before": before} if before else {}
    write_atomically(path, (json.dumps({"about": about, **options}, indent=2) + "\n").encode())


def hours(run_dir: Path) -> float:
    """Return the time from a run's first file to its last network, pauses included."""
    return ((run_dir / "last.keras").stat().st_mtime - (run_dir / "config.json").stat().st_mtime) / 3600


if __name__ == "__main__":
    sys.exit(main())
