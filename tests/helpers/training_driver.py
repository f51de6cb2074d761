"""Runs `training/train.py` in a process of its own, with a tiny network, injected NaNs, and an end at a chosen place.

Usage: training_driver.py '{"end": [place, step or seed, signal], "poison": [...], ...}' <arguments of train.py>
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "--backend" in sys.argv:  # as `rnan-tf` does before Keras is imported
    os.environ["KERAS_BACKEND"] = sys.argv[sys.argv.index("--backend") + 1]

import tensorflow as tf

import rnan_tf.training.callbacks
import rnan_tf.training.checkpoints
import rnan_tf.training.run
import rnan_tf.training.train_step
from rnan_tf.cli.train import main

TINY = Path(__file__).with_name("tiny.json")
PLAN = json.loads(sys.argv[1])


def before(owner, name, action):
    """Let `action` run before each call of a function or method; the arguments are its own."""
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        action(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def end_at(place, step, number):
    """Arrange that this process gets a signal at a place, once the run has come to a step; see `KILLS`."""
    progress = []
    before(
        rnan_tf.training.callbacks.ProgressBar, "on_train_begin", lambda self, logs=None: progress.append(self.progress)
    )

    def end(*args, **kwargs):
        if progress and progress[-1].step == step:
            os.kill(os.getpid(), number)

    def end_within_the_step(*args, **kwargs):
        if progress[-1].step == step:
            if number != signal.SIGKILL:  # its handler waits for the end of the step itself
                return os.kill(os.getpid(), number)
            delay = random.Random(step).uniform(0, 0.01)
            threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), number))).start()

    def half_written(self, path, *args, **kwargs):
        if progress and progress[-1].step == step:
            Path(path).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
            os.kill(os.getpid(), number)

    def half_removed(path, *args, **kwargs):
        if progress and progress[-1].step == step and Path(path).name.startswith("step-"):
            next(Path(path).iterdir()).unlink()
            os.kill(os.getpid(), number)

    def end_some_time_after_the_first_step(self, batch, logs=None):
        if not progress:
            return
        progress.clear()
        delay = random.Random(step).uniform(0, 0.4)  # before the validation after it, which takes longer, has ended
        threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), number))).start()

    if place == "random":
        before(rnan_tf.training.callbacks.Validation, "on_train_batch_end", end_some_time_after_the_first_step)
    elif place == "step":
        before(rnan_tf.training.callbacks.Validation, "on_train_batch_begin", end_within_the_step)
    elif place == "validation":
        before(rnan_tf.training.callbacks, "evaluate", end)
    elif place == "checkpoint half written":
        before(rnan_tf.training.train_step.TrainedRNAN, "save_weights", half_written)
    elif place == "checkpoint not renamed":
        before(os, "replace", lambda source, target: "step-" in str(target) and end())
    elif place == "older one half removed":
        before(shutil, "rmtree", half_removed)
    else:
        raise ValueError(place)


def poison(rules):
    """Put a NaN into the batches of some steps; `rules`: [step, whether only at the full rate] pairs."""
    batches = rnan_tf.training.run.patch_batches

    def poisoned(files, spec, batch_size, first_step, **options):
        full_rate = float(running[0].optimizer.rate_factor) == 1
        steps = tf.constant([step for step, only_at_full_rate in rules if full_rate or not only_at_full_rate], tf.int64)

        def spoil(i, batch):
            bad = tf.reduce_any(steps == i + first_step + 1)
            return batch[0], tf.where(bad, float("nan"), batch[1])

        return batches(files, spec, batch_size, first_step, **options).enumerate().map(spoil)

    running = []
    before(rnan_tf.training.run.Run, "_fit", lambda self, _: running.__setitem__(slice(None), [self.network]))
    rnan_tf.training.run.patch_batches = poisoned


def fill_disk_at(step, ballast, limit):
    """Leave no space at a step: a ballast file fills the file system, or files may not be larger than a limit."""

    def fill(self, batch, logs=None):
        if self.progress.step != step:
            return
        if ballast:
            try:
                with open(ballast, "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            except OSError:
                pass
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    before(rnan_tf.training.callbacks.ProgressBar, "on_train_batch_end", fill)


def tell_version_0_1(config):
    """Say in a run's configuration that its network is tiny, where this driver had put it in place of rnan_lite."""
    if config.exists() and "network" not in (data := json.loads(config.read_text())):
        config.write_text(json.dumps({**data, **json.loads(TINY.read_text())}))


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    arguments = sys.argv[2:]
    tell_version_0_1(Path(arguments[arguments.index("--run-dir") + 1]) / "config.json")
    if "poison" in PLAN:
        poison(PLAN["poison"])
    if "end" in PLAN:
        end_at(*PLAN["end"])
    if "fill" in PLAN:
        fill_disk_at(*PLAN["fill"])
    sys.exit(main(["--recipe", str(TINY), *arguments]))
