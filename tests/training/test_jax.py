"""Training on Keras' JAX backend: TensorFlow's losses, its checkpoints, its bits after a kill; one compilation.

Keras has one backend a process, so JAX has processes of its own. `pytest -s` prints the losses side by side.
"""

import functools
import json
import shutil
import signal
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from rnan_tf.cli import train
from rnan_tf.errors import InputError
from rnan_tf.network.loading import save_model
from rnan_tf.network.model import RNAN
from rnan_tf.training.strategy import Placement, make_strategy
from tests.helpers.jax_process import compilations
from tests.helpers.missing import needs
from tests.helpers.run_state import final_state

needs("jax")

TINY = Path(__file__).parents[1] / "helpers" / "tiny.json"
STEPS = 20
ARGUMENTS = f"--model rnan_lite --batch-size 4 --patch-size 16 --validate-every 10 --steps {STEPS}"
OPTIMIZERS = {"adam": ("--optimizer", "adam"), "muon": ("--optimizer", "muon", "--weight-decay", "0.1")}
TRAIN = ("-m", "rnan_tf.cli", "train")
DRIVER = Path(__file__).parents[1] / "helpers" / "training_driver.py"


@pytest.fixture(scope="module")
def arguments(photographs, tmp_path_factory):
    """What all runs here are given: the same photographs, and the same weights, which each backend draws otherwise."""
    start = tmp_path_factory.mktemp("start") / "start.keras"
    keras.utils.set_random_seed(0)
    save_model(RNAN(**json.loads(TINY.read_text())["network"]), start)
    return ["--recipe", TINY, *ARGUMENTS.split(), "--data", photographs, "--init", start]


@pytest.fixture(scope="module")
def on_tensorflow(arguments, tmp_path_factory):
    """Trains in this process, once: optimizer -> the run's folder."""

    @functools.cache
    def run(optimizer):
        folder = tmp_path_factory.mktemp("tensorflow") / optimizer
        assert train_here(arguments, folder, *OPTIMIZERS[optimizer]) == 0
        return folder

    return run


@pytest.fixture(scope="module")
def on_jax(arguments, run_jax, tmp_path_factory):
    """Trains on JAX, once: optimizer -> (the run's folder, what JAX logged)."""

    @functools.cache
    def run(optimizer):
        folder = tmp_path_factory.mktemp("jax") / optimizer
        done = run_jax(*TRAIN, *arguments, *OPTIMIZERS[optimizer], "--run-dir", folder)
        assert done.returncode == 0, done.stderr
        return folder, done.stderr

    return run


def train_here(arguments, folder, *more):
    return train.main(list(map(str, [*arguments, *more, "--run-dir", folder])))


def progress(folder, step=STEPS):
    return json.loads((folder / "checkpoints" / f"step-{step:09d}" / "progress.json").read_text())


def losses(folder):
    """The loss of each step."""
    return np.array(progress(folder)["losses"])


def greatest_difference(ours, theirs):
    assert len(ours) == len(theirs) == STEPS
    print(*(f"{step:3d}  {a:.7f}  {b:.7f}" for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1)), sep="\n")
    return (np.abs(ours - theirs) / theirs).max()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_losses_are_tensorflows(on_tensorflow, on_jax, optimizer):
    ours, theirs = losses(on_jax(optimizer)[0]), losses(on_tensorflow(optimizer))
    assert theirs[-1] < 0.9 * theirs[0]
    assert greatest_difference(ours, theirs) < 1e-5  # measured 7e-7


@pytest.mark.slow
def test_a_run_compiles_one_step_and_one_shape_of_tiles(on_jax):
    folder, log = on_jax("muon")
    assert len(progress(folder)["history"]) == 2
    assert (compilations(log, "train_step"), compilations(log, "predict_step")) == (1, 1)


@pytest.mark.slow
def test_a_run_begun_on_tensorflow_resumes_on_jax(arguments, on_tensorflow, run_jax, tmp_path):
    folder = half_done(on_tensorflow("muon"), tmp_path / "run")
    done = run_jax(*TRAIN, *arguments, *OPTIMIZERS["muon"], "--run-dir", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "step-000000010 was written on tensorflow; the run resumes on jax" in lines
    assert f"{folder}: going on from step 10 of {STEPS}" in lines
    assert_same_run(folder, on_tensorflow("muon"))


@pytest.mark.slow
def test_a_run_begun_on_jax_resumes_on_tensorflow(arguments, on_jax, capsys, tmp_path):
    folder = half_done(on_jax("adam")[0], tmp_path / "run")
    assert train_here(arguments, folder, "--optimizer", "adam") == 0
    assert "step-000000010 was written on jax; the run resumes on tensorflow" in capsys.readouterr().out.splitlines()
    assert_same_run(folder, on_jax("adam")[0])


def half_done(folder, copy):
    """Copy a run as it was at step 10."""
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "checkpoints" / f"step-{STEPS:09d}")
    return copy


def assert_same_run(resumed, whole):
    """Compare the losses; weights, moments and averages by what they lead to, and directly."""
    assert greatest_difference(losses(resumed), losses(whole)) < 1e-5
    (ours, names), (theirs, _) = map(arrays, (resumed, whole))
    assert sum("optimizer" in name for name in names) > 100
    for name, a, b in zip(names, ours, theirs, strict=True):
        assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max() + 1e-7, name


def arrays(folder):
    found = {}
    with h5py.File(folder / "checkpoints" / f"step-{STEPS:09d}" / "model.weights.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return [found[name].astype("float64") for name in sorted(found)], sorted(found)


@pytest.mark.slow
def test_two_devices_are_as_one_and_so_are_the_pieces_of_a_batch(arguments, on_jax, run_jax, tmp_path):
    more = (*OPTIMIZERS["muon"], "--accumulate", "2", "--run-dir", tmp_path)
    done = run_jax(*TRAIN, *arguments, *more, devices=2)
    assert done.returncode == 0, done.stderr
    assert "Mesh('batch': 2" in done.stderr
    assert compilations(done.stderr, "train_step") == 1
    assert greatest_difference(losses(tmp_path), losses(on_jax("muon")[0])) < 1e-5


@pytest.mark.slow
def test_bfloat16(arguments, on_jax, run_jax, tmp_path):
    done = run_jax(*TRAIN, *arguments, *OPTIMIZERS["muon"], "--precision", "bfloat16", "--run-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert 1e-5 < greatest_difference(losses(tmp_path), losses(on_jax("muon")[0])) < 0.03


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(arguments, on_jax, run_jax, tmp_path):
    arguments = [*arguments, *OPTIMIZERS["muon"], "--run-dir", tmp_path]
    plan = json.dumps({"end": ["step", 13, signal.SIGKILL]})
    killed = run_jax(DRIVER, plan, *arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "checkpoints" / f"step-{STEPS:09d}").exists()
    done = run_jax(*TRAIN, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"going on from step 10 of {STEPS}" in done.stdout
    assert final_state(tmp_path, STEPS) == final_state(on_jax("muon")[0], STEPS)


@pytest.mark.slow
def test_bad_steps_are_dropped_and_a_rollback_halves_the_rate(photographs, run_jax, tmp_path):
    """Also to the bit after kills in between."""
    options = "--model rnan_lite --batch-size 2 --patch-size 16 --validate-every 3 --max-bad-steps 2 --steps 12"
    poison = {"poison": [[5, False], [7, True], [8, True]]}  # the last two are as they should be at half the rate

    def run(name, **plan):
        arguments = [*options.split(), "--data", photographs, "--run-dir", tmp_path / name]
        return run_jax(DRIVER, json.dumps({**poison, **plan}), *arguments)

    whole = run("whole")
    assert whole.returncode == 0, whole.stderr
    assert "going back to step 6 at half the learning rate" in whole.stdout
    assert compilations(whole.stderr, "train_step") == 2  # the rate's factor is a constant of it
    state = final_state(tmp_path / "whole", 12)
    assert (state["progress"]["dropped"], state["progress"]["rollbacks"]) == (3, 1)
    for place, step in (("random", 0), ("validation", 6), ("checkpoint half written", 9)):
        killed = run("killed", end=[place, step, signal.SIGKILL])
        assert killed.returncode == -signal.SIGKILL, (place, killed.stderr)
    done = run("killed")
    assert done.returncode == 0, done.stderr
    assert final_state(tmp_path / "killed", 12) == state


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement("multi-worker"), "clusters by TF_CONFIG train on TensorFlow only"),
        (Placement(data_service="grpc://host:1"), "`data_service` feeds TensorFlow only"),
    ],
)
def test_what_only_tensorflow_has_is_refused(monkeypatch, placement, message):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match=message):
        make_strategy(placement, 4)
