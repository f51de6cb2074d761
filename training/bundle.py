"""Put the best network of a finished run among the bundled ones: `python training/bundle.py --run runs/denoise`.

Writes rnan_tf/weights/NAME.keras with float16 weights, and what is known about it into rnan_tf/weights/manifest.json.
"""

import dataclasses
import hashlib
import json
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

from rnan_tf import weights as bundled
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import JobError, command
from rnan_tf.files import make_folder, replacing
from rnan_tf.network.loading import save_model
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.tasks.clean_images import read_images
from rnan_tf.tasks.task import get_task
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.training.split import training_files

# What float16 storage may cost on the validation photographs, dB.
FLOAT16_TOLERANCE = 0.01


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, store the network, and print its manifest entry."""
    parser = Parser(prog="bundle.py", description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="the folder of a finished training run")
    run_dir = parser.parse_args(argv).run
    runtime = KerasRuntime.open(run_dir)
    task = get_task(runtime.card.task)
    config, (commands, hours_spent) = read_config(run_dir / "config.json"), history(run_dir)
    make_folder(bundled.FOLDER)
    target = bundled.FOLDER / f"{task.name}.keras"
    strength = task.nearest(runtime.card.strengths)
    images = read_images(training_files(config.data, config.val_data, config.skip_subsampled)[1], task)
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
    print(json.dumps({task.name: entry}, indent=2))
    return 0


def measure(runtime: KerasRuntime, images, strength: float) -> float:
    """Return a model's mean PSNR on clean images, dB."""
    found = evaluate(images, get_task(runtime.card.task), strength, runtime.at(strength))
    return mean_scores(image.scores for image in found)["psnr"]


def history(run_dir: Path) -> tuple[list[str], float]:
    """Return how a network came to be, following `--init`.

    Args:
        run_dir: the run that ended with it.

    Returns:
        (command lines, the first run's first; hours of all of them).

    Raises:
        InputError: a run's folder or configuration is missing.
    """
    config = read_config(run_dir / "config.json")
    commands, hours_before, start = [], 0.0, ""
    if config.init and not Path(config.init).exists() and config.init in bundled.read_manifest():
        entry = bundled.read_manifest()[config.init]
        commands, hours_before, start = entry["commands"], entry["hours"], entry["run"]
    elif config.init:
        folder = Path(config.init)
        folder = folder.parent if folder.is_file() else folder
        commands, hours_before = history(folder)
        start = folder.name
    return [*commands, as_command(run_dir, config, start)], hours_before + hours(run_dir)


def as_command(run_dir: Path, config: TrainConfig, start: str) -> str:
    """Return the command line of a run, with the last names of its folders; `start` is that of `--init`."""
    words = ["python", "training/train.py"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if (value == field.default and field.name != "task") or "help" not in field.metadata:
            continue
        if field.name == "init":
            value = f"runs/{start}"
        if isinstance(value, tuple):
            values = [Path(path).name for path in value]
        else:
            values = [] if value is True else [str(value)]
        words += [f"--{field.name.replace('_', '-')}", *values]
    return shlex.join([*words, "--run-dir", f"runs/{run_dir.name}"])


def hours(run_dir: Path) -> float:
    """Return the time from a run's first file to its last network, pauses included."""
    return ((run_dir / "last.keras").stat().st_mtime - (run_dir / "config.json").stat().st_mtime) / 3600


if __name__ == "__main__":
    sys.exit(main())
