"""The configuration of a training run: typed, from the command line or a recipe, kept in the run folder."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnan_tf.errors import InputError, first_line
from rnan_tf.files import write_atomically
from rnan_tf.network.variants import VARIANTS
from rnan_tf.tasks.strength import STRENGTHS
from rnan_tf.tasks.task import NOISES, SUBSAMPLINGS, TASKS, Task, get_task

# What differs between the model sizes. rnan: the paper, section 4.1 (Adam, 1e-4 halved in steps, 48x48 patches, batch
# 16). rnan_lite: the measurements in docs/recipe.md. None: the task's own.
_LITE = {"optimizer": "muon", "schedule": "cosine", "steps": 20_000, "patch_size": 48, "loss": "l1"}
DEFAULTS = {
    "rnan": {"optimizer": "adam", "schedule": "step", "steps": 1_000_000, "patch_size": 48, "loss": None},
    "rnan_lite": _LITE,
    "rnan_lite_sr": {**_LITE, "patch_size": 24},
}
# Highest rates: of rnan, and of the others. Muon's steps have a fixed size, which clipping would not change.
LEARNING_RATES = {"adam": (1e-4, 1e-3), "muon": (2e-4, 2e-3)}
CLIPNORMS = {"adam": 1.0, "muon": 0.0}


def _option(default, text, **options):
    return field(default=default, metadata={"help": text, **options})


@dataclass(frozen=True)
class TrainConfig:
    """All that decides about a run's result. Fields left open take the model's recipe or the task's default."""

    task: str = _option("demosaic", "what to learn", choices=tuple(TASKS))
    sigma: str | None = _option(None, "noise, 0-255 scale: 50, or a range such as 0-75")
    quality: str | None = _option(None, "JPEG quality: 10, or a range such as 5-60")
    data: tuple[str, ...] = _option(
        (), "photographs to train on: folders, files, globs (scikit-image's own)", nargs="+"
    )
    val_data: tuple[str, ...] = _option((), "photographs to validate on (some of --data, held out)", nargs="+")
    pairs: tuple[str, ...] = _option(
        (),
        "instead of --data: a folder of degraded photographs and one of the same ones clean, under the same names",
        nargs=2,
        metavar=("DEGRADED", "CLEAN"),
    )
    noise: str = _option("gaussian", "of denoise: camera is blind, and depends on the light", choices=NOISES)
    skip_subsampled: bool = _option(False, "leave out photographs that are JPEGs with subsampled chroma")
    subsampling: tuple[str, ...] = _option(
        (), "chroma of jpeg-color's patches, one drawn for each (4:2:0 4:4:4)", nargs="+", choices=SUBSAMPLINGS
    )
    model: str | None = _option(
        None, "rnan where a GPU is visible, else rnan_lite, for sr rnan_lite_sr", choices=tuple(VARIANTS)
    )
    steps: int | None = _option(None, "optimizer steps (rnan 1,000,000, rnan_lite 20,000)")
    batch_size: int = _option(16, "patches a step, over all devices")
    patch_size: int | None = _option(None, "height and width of the degraded patches, even (48; rnan_lite_sr: 24)")
    busiest_of: int | None = _option(
        None, "pieces cut for each patch; the busiest is kept (rnan_lite: demosaic, sr 4; jpeg, denoise 2; else 1)"
    )
    optimizer: str | None = _option(None, "rnan: adam; rnan_lite: muon", choices=("adam", "muon"))
    learning_rate: float | None = _option(None, "highest rate (rnan 1e-4, rnan_lite 2e-3; muon 2e-4, adam 1e-3)")
    schedule: str | None = _option(None, "rnan: step, halved 5 times; rnan_lite: cosine", choices=("cosine", "step"))
    warmup_steps: int = _option(100, "steps over which the rate rises from 0")
    loss: str | None = _option(None, "rnan: l2, for sr l1; rnan_lite: l1", choices=("l1", "l2"))
    clipnorm: float | None = _option(None, "largest norm of the whole gradient, 0 for any (adam 1, muon 0)")
    weight_decay: float = _option(0.0, "of muon: each step takes this times the rate off the convolutions' kernels")
    accumulate: int = _option(1, "pieces a batch is computed in, one after the other, to save memory")
    max_bad_steps: int = _option(10, "steps in a row with a NaN or infinite gradient until a rollback")
    precision: str = _option("float32", "of the computation", choices=("float32", "bfloat16", "float16"))
    validate_every: int = _option(500, "steps between validations; a checkpoint is written with each")
    seed: int = _option(0, "of the first weights, the patches and the noise")
    init: str | None = _option(None, "start from this model's weights: a .keras file, a run folder or a preset")
    # In files only: constructor arguments of RNAN that differ from the model size's.
    network: dict[str, Any] = field(default_factory=dict)

    def resolved(self, has_gpu: bool, run_dir: Path | None = None) -> "TrainConfig":
        """Fill in what the user left open.

        Args:
            has_gpu: whether TensorFlow sees one.
            run_dir: the run's folder; a run in it that is older than an option goes on without it.

        Returns:
            A configuration without open fields but `init`, and what the task does not have.

        Raises:
            InputError: a value is out of its range.
        """
        self._check_degradation()
        task = self.degraded_task
        model = self.model or default_model(task, has_gpu)
        defaults = {"model": model, **DEFAULTS[model], "loss": DEFAULTS[model]["loss"] or task.loss}
        if task.strength:
            defaults[task.strength.name] = str(task.strength.default)
        if task.subsamplings and not self.pairs:
            defaults["subsampling"] = ("4:2:0", "4:4:4")
        defaults["busiest_of"] = 1 if model == "rnan" else task.busiest_of
        if run_dir:
            defaults |= _of_older_run(run_dir)
        optimizer = self.optimizer or defaults["optimizer"]
        defaults["learning_rate"] = LEARNING_RATES[optimizer][model != "rnan"]
        defaults["clipnorm"] = CLIPNORMS[optimizer]
        config = dataclasses.replace(
            self, **{key: value for key, value in defaults.items() if getattr(self, key) in (None, ())}
        )
        config._check()
        return config

    @property
    def degraded_task(self) -> Task:
        """The task, with what the configuration says of its degradation."""
        task = get_task(self.task).with_subsampling(*self.subsampling).with_noise(self.noise)
        return task.of_pairs() if self.pairs else task

    @property
    def strengths(self) -> tuple[float, float]:
        """The strengths to train for, (lowest, highest) in the user's unit; zeros for a task without."""
        return self.degraded_task.parse_strength(**{name: getattr(self, name) for name in STRENGTHS})

    def _check_degradation(self):
        if len(self.pairs) not in (0, 2):
            raise InputError(f"`pairs` must be two folders, degraded and clean; got {', '.join(self.pairs)}")
        chosen = self.sigma or self.quality
        if self.pairs and (self.data or chosen or self.subsampling or self.noise != NOISES[0]):
            raise InputError(
                "`pairs` are degraded already; leave `data`, `sigma`, `quality`, `noise`, `subsampling` out"
            )
        if self.noise != NOISES[0] and chosen:
            raise InputError(f"`noise` {self.noise} draws its own strength; leave `sigma` out")

    def _check(self):
        _ = self.strengths  # which are read, and complained of
        for name in ("steps", "batch_size", "accumulate", "max_bad_steps", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.batch_size % self.accumulate:
            raise InputError(f"`accumulate` {self.accumulate} must divide `batch_size` {self.batch_size}")
        if self.patch_size < 8 or self.patch_size % 2:
            raise InputError(f"`patch_size` must be even and at least 8; got {self.patch_size}")
        if not 1 <= self.busiest_of <= 64:  # each piece is a part of TensorFlow's graph
            raise InputError(f"`busiest_of` must be from 1 to 64; got {self.busiest_of}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"`learning_rate` must be above 0; got {self.learning_rate}")
        if not 0 <= self.clipnorm < math.inf:
            raise InputError(f"`clipnorm` must be at least 0, which does not clip; got {self.clipnorm}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"`weight_decay` must be at least 0, which takes nothing off; got {self.weight_decay}")
        if self.weight_decay and self.optimizer != "muon":
            raise InputError("`weight_decay` is of optimizer muon alone; leave one of the two out")
        if self.warmup_steps < 0:
            raise InputError(f"`warmup_steps` must be at least 0; got {self.warmup_steps}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"`seed` must be from 0 to {2**32 - 1}; got {self.seed}")
        if self.val_data and not self.data:
            raise InputError("`val_data` needs `data`")
        if self.skip_subsampled and get_task(self.task).channels != 3:
            raise InputError(f"task {self.task} does not look at chroma; leave `skip_subsampled` out")
        if self.skip_subsampled and not self.data:
            raise InputError("`skip_subsampled` needs `data`")

    @property
    def ema_momentum(self) -> float:
        """Momentum of the weights' moving average: over 1000 steps, or a twentieth of a shorter run."""
        return 1 - 1 / min(1000, max(self.steps / 20, 2))

    def _as_json(self):
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def write(self, run_dir: Path) -> None:
        """Write `config.json`.

        Raises:
            JobError: it cannot be written.
        """
        write_atomically(run_dir / "config.json", json.dumps(self._as_json(), indent=2).encode())

    def check_same(self, run_dir: Path, same_photographs: bool = False) -> None:
        """Check that the `config.json` of a run says the same.

        Args:
            run_dir: the run's folder.
            same_photographs: whether the photographs are known to be the same, under whatever names.

        Raises:
            InputError: it is another configuration, or cannot be read.
        """
        ours = self._as_json()
        try:
            theirs = {**read_config(run_dir / "config.json")._as_json(), **_of_older_run(run_dir)}
        except InputError as error:
            raise InputError(f"{error}; give another `run_dir`") from error
        alike = all(bool(theirs[name]) == bool(ours[name]) for name in ("data", "pairs"))
        renamed = ("data", "val_data", "pairs") if same_photographs and alike else ()
        differing = [
            f"{key} {theirs[key]!r} there, {ours[key]!r} now"
            for key in ours
            if theirs[key] != ours[key] and key not in renamed
        ]
        if differing:
            raise InputError(
                f"{run_dir} holds a run of another configuration ({'; '.join(differing)}); "
                "give another `run_dir`, and `init` to start from its weights"
            )


def default_model(task: Task, has_gpu: bool) -> str:
    """Return the model size that is trained where none was asked for."""
    return "rnan" if has_gpu else "rnan_lite_sr" if task.scale > 1 else "rnan_lite"


def read_config(path: Path) -> TrainConfig:
    """Read a configuration: a run's `config.json`, or a recipe. What is left out is left open.

    Args:
        path: the file. What it tells about itself under "about" is for readers.

    Raises:
        InputError: it is not there or not a configuration.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable configuration ({first_line(error)})") from error
    try:
        return _from_json(data)
    except InputError as error:
        raise InputError(f"{path}: not a configuration of a training: {error}") from error


def is_config(path: Path) -> bool:
    """Return whether a file is the configuration of a run, of this version or another."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"task", "model", "batch_size", "patch_size", "validate_every"} <= data.keys()


def _from_json(data):
    if not isinstance(data, dict):
        raise InputError(f"it must be an object with the options' names, not {json.dumps(data)[:40]}")
    data = _upgraded({key: value for key, value in data.items() if key != "about"})
    options = {option.name: option for option in dataclasses.fields(TrainConfig)}
    hints = typing.get_type_hints(TrainConfig)
    for name, value in data.items():
        if name not in options:
            raise InputError(f"unknown option {name!r}; the options are {', '.join(options)}")
        if not _fits(value, hints[name]):
            raise InputError(f"`{name}` must be {_words(hints[name])}; got {json.dumps(value)[:40]}")
        choices = options[name].metadata.get("choices")
        for each in value if isinstance(value, list) else [value]:
            if choices and each is not None and each not in choices:
                raise InputError(f"`{name}` must be one of {', '.join(choices)}; got {each!r}")
    return TrainConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


def _fits(value, hint):
    if isinstance(hint, types.UnionType):
        return any(_fits(value, kind) for kind in typing.get_args(hint))
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    if hint == tuple[str, ...]:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, typing.get_origin(hint) or hint)


def _words(hint):
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if isinstance(hint, types.UnionType):
        return " or ".join(map(_words, typing.get_args(hint)))
    return kinds.get(hint) or ("a list of texts" if hint == tuple[str, ...] else "an object")


# === Runs of version 0.1, and those that are older than an option ===

OLDER_RUNS = {"optimizer": "adam", "busiest_of": 1}


def _upgraded(data):
    """Version 0.1 had the task `sr`, whose level was the scale, and `level` for every strength."""
    if "level" not in data:
        return data
    data = {**OLDER_RUNS, **data}
    level = data.pop("level")
    if data.get("task") == "sr":
        model = data.get("model")
        data |= {"task": f"sr-x{level or 2}", "model": "rnan_lite_sr" if model == "rnan_lite" else model}
    elif level is not None:
        name = str(data.get("task", TrainConfig.task))
        strength = get_task(name).strength
        if strength is None:
            raise InputError(f"task {name} has no `level`")
        data[strength.name] = level
    return data


def _of_older_run(run_dir):
    """Return what the run in a folder does for the options that it is older than."""
    path = run_dir / "config.json"
    options = json.loads(path.read_text(encoding="utf-8")) if is_config(path) else OLDER_RUNS
    return {name: value for name, value in OLDER_RUNS.items() if name not in options}
