"""training.strategy: one device, two devices and two workers train the same network; a lost worker costs nothing.

The processes run tests/helpers/workers.py. `pytest -s` prints the losses of the three side by side.
"""

import json
import signal
import socket
import time
from contextlib import ExitStack

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend.tensorflow import trainer

from rnan_tf.errors import InputError, JobError
from rnan_tf.training import open_ports, opening, run
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.keras_fixes import fix_fit_of_several_workers
from rnan_tf.training.strategy import Placement, everyones, is_chief, make_strategy

pytestmark = pytest.mark.slow

STEPS = 20
DEADLINE = 600  # seconds for a run of a few, on a machine that may be busy
SMALL = ["--model", "rnan_lite", "--batch-size", "4", "--patch-size", "16"]
# The gradients are above this norm at every step: whether the whole batch's gradient is clipped shows in the losses.
ADAM = ["--optimizer", "adam", "--clipnorm", "0.05"]
FLAGS = [*SMALL, "--validate-every", "10", *ADAM]
MUON = ["--optimizer", "muon", "--clipnorm", "0", "--weight-decay", "0.1"]


@pytest.fixture(scope="module")
def train(start_python, photographs):
    """Start a training process; returns it."""

    def start(run_dir, name, *arguments, cpus=1, **environment):
        log = run_dir.parent / name
        flags = [*FLAGS, "--data", photographs, "--steps", STEPS, "--run-dir", run_dir, *arguments]
        return start_python(f"{log}.output", "tests/helpers/workers.py", cpus, log, *flags, **environment)

    return start


@pytest.fixture(scope="module")
def train_cluster(train):
    """Start two workers; returns their processes."""

    def start(run_dir, attempt="", *arguments):
        cluster = {"worker": free_addresses(2)}
        return [
            train(
                run_dir,
                f"worker{index}{attempt}",
                "--i-know-this-network-is-private",
                *arguments,
                TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
            )
            for index in (0, 1)
        ]

    return start


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train, train_cluster):
    """The same run by each strategy: {strategy: run folder}."""
    return by_each_strategy(tmp_path_factory.mktemp("adam"), train, train_cluster)


def by_each_strategy(folder, train, train_cluster, *arguments):
    one, mirrored, cluster = (folder / name / "run" for name in ("one", "mirrored", "multi-worker"))
    for run_dir in (one, mirrored, cluster):
        run_dir.parent.mkdir()
    wait_for(train(one, "worker0", *arguments))
    wait_for(train(mirrored, "worker0", "--devices", "CPU:0", "CPU:1", *arguments, cpus=2))
    wait_for(*train_cluster(cluster, "", *arguments))
    return {"one": one, "mirrored": mirrored, "multi-worker": cluster}


def free_addresses(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def wait_for(*processes, code=0):
    deadline = time.monotonic() + DEADLINE
    for process in processes:
        assert process.wait(deadline - time.monotonic()) == code


def losses(run_dir, name="worker0"):
    path = run_dir.parent / f"{name}.losses"
    return [float(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_step(run_dir, name, count):
    """Wait until a process has taken so many steps."""
    deadline = time.monotonic() + DEADLINE
    while len(losses(run_dir, name)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def output(run_dir, name):
    return (run_dir.parent / f"{name}.output").read_text()


def checkpoint(run_dir):
    """All arrays of the last checkpoint: weights, optimizer, moving average."""
    arrays = {}
    with h5py.File(run_dir / "checkpoints" / f"step-{STEPS:09d}" / "model.weights.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    assert len(arrays) > 100
    return arrays


def losses_side_by_side(runs):
    """Print the losses of the three strategies, and return them."""
    table = {name: losses(run_dir) for name, run_dir in runs.items()}
    print("\nstep " + " ".join(f"{name:>14s}" for name in table))
    for step, row in enumerate(zip(*table.values(), strict=True), 1):
        print(f"{step:4d} " + " ".join(f"{loss:14.8f}" for loss in row))
    assert len(table["one"]) == STEPS
    assert len(set(table["one"])) == STEPS
    return table


def test_with_muon_they_have_the_same_losses(train, train_cluster, tmp_path):
    table = losses_side_by_side(by_each_strategy(tmp_path, train, train_cluster, *MUON))
    one = np.array(table["one"])
    difference = max(np.abs(np.array(table[name]) / one - 1).max() for name in ("mirrored", "multi-worker"))
    print(f"largest relative difference {difference:.1e}")
    # Orthogonalising enlarges the gradients' rounding: a singular value far below the others becomes as large as they.
    assert difference < 1e-3


def test_the_three_strategies_have_the_same_losses_and_weights(runs):
    table = losses_side_by_side(runs)
    expected = checkpoint(runs["one"])
    for name in ("mirrored", "multi-worker"):
        np.testing.assert_allclose(table[name], table["one"], rtol=1e-5)
        found = checkpoint(runs[name])
        for path, array in expected.items():
            np.testing.assert_allclose(found[path], array, atol=1e-4, err_msg=f"{name} {path}")
    assert losses(runs["multi-worker"], "worker1") == table["multi-worker"]


def test_only_the_chief_writes(runs):
    def writes(name):
        return (runs["multi-worker"].parent / f"{name}.writes").read_text()

    assert "checkpoints" in writes("worker0")
    assert writes("worker1") == ""
    # TensorBoard's files are not written by Python; their names hold the process's number.
    numbers = {file.name.split(".")[-3] for file in runs["multi-worker"].glob("tensorboard/**/events*")}
    assert len(numbers) == 1
    assert "PSNR on 1 held-out" in output(runs["multi-worker"], "worker0")
    assert output(runs["multi-worker"], "worker1") == "a cluster of 2 workers: waiting for all to start\n"


def test_a_cluster_that_was_stopped_and_lost_a_worker_ends_with_the_same_bits(runs, train_cluster, tmp_path):
    run_dir = tmp_path / "run"
    workers = train_cluster(run_dir, "-stopped")
    wait_for_step(run_dir, "worker1-stopped", 3)
    workers[1].send_signal(signal.SIGTERM)  # one is told, all stop
    wait_for(*workers, code=143)
    done = len(losses(run_dir, "worker0-stopped"))
    assert 3 <= done < 10
    assert len(losses(run_dir, "worker1-stopped")) == done
    assert f"stopped at step {done} of {STEPS}" in output(run_dir, "worker0-stopped")

    workers = train_cluster(run_dir, "-lost")
    wait_for_step(run_dir, "worker0-lost", 12 - done)  # past the checkpoint of step 10
    workers[1].kill()
    wait_for(workers[0], code=1)
    assert f"going on from step {done} of {STEPS}" in output(run_dir, "worker0-lost")
    assert "\nerror: another worker of the cluster is gone" in output(run_dir, "worker0-lost")
    assert "Traceback" not in output(run_dir, "worker0-lost")

    wait_for(*train_cluster(run_dir, "-again"))
    assert f"going on from step 10 of {STEPS}" in output(run_dir, "worker0-again")
    expected, found = checkpoint(runs["multi-worker"]), checkpoint(run_dir)
    assert {path: array.tobytes() for path, array in found.items()} == {
        path: array.tobytes() for path, array in expected.items()
    }
    for attempt in ("-stopped", "-lost", "-again"):
        assert (run_dir.parent / f"worker1{attempt}.writes").read_text() == ""


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_two_devices_train_in_sixteen_bits(train, tmp_path, precision):
    run_dir = tmp_path / "run"
    devices = ["--devices", "CPU:0", "CPU:1"]
    wait_for(train(run_dir, "worker0", *devices, "--precision", precision, "--steps", "2", cpus=2))
    assert np.isfinite(losses(run_dir)).all()
    model = keras.saving.load_model(run_dir / "last.keras", compile=False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_cluster_trains_in_sixteen_bits(train_cluster, tmp_path):
    wait_for(*train_cluster(tmp_path / "run", "", "--precision", "bfloat16", "--steps", "2"))
    values = losses(tmp_path / "run")
    assert len(values) == 2
    assert np.isfinite(values).all()
    assert values == losses(tmp_path / "run", "worker1")


def test_a_batch_that_the_devices_cannot_share_is_refused(start_python, tmp_path):
    flags = [*SMALL, "--devices", "CPU:0", "CPU:1", "--batch-size", "3", "--run-dir", tmp_path / "run"]
    wait_for(start_python(tmp_path / "worker0.output", "tests/helpers/workers.py", 2, tmp_path / "log", *flags), code=2)
    assert "error: --batch-size 3 is over all devices" in output(tmp_path / "run", "worker0")
    assert not (tmp_path / "run").exists()


CLUSTER = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}


@pytest.mark.parametrize(
    ("placement", "tf_config", "message"),
    [
        (Placement("multi-worker"), None, "needs the environment variable TF_CONFIG"),
        (Placement("multi-worker"), "{", "TF_CONFIG is not a cluster's description"),
        (Placement(), "[]", "TF_CONFIG is not a cluster's description"),
        (Placement(), {"cluster": CLUSTER}, "TF_CONFIG is not a cluster's description"),
        (Placement(), {"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, "IndexError"),
        (Placement(), {"cluster": CLUSTER, "task": {"type": "worker", "index": float("inf")}}, "OverflowError"),
        (Placement(), {"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, "chief"),
        (Placement(), {"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "only chief and worker"),
        (Placement(), {"cluster": {"a\nb": ["a:1"]}, "task": {"type": "ps", "index": 0}}, r"the jobs \['a\\nb'\]"),
        (Placement(), {"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}, "a list of addresses"),
        (Placement(), {"cluster": {"worker": ["a", "b:1"]}, "task": {"type": "worker", "index": 0}}, "'a' should be"),
        (Placement(), {"cluster": CLUSTER, "task": {"type": "worker", "index": 0}}, "`i_know_this_network_is_private`"),
        (
            Placement(devices=("CPU:0",)),
            {"cluster": CLUSTER, "task": {"type": "worker", "index": 0}},
            "CUDA_VISIBLE_DEVICES",
        ),
        (Placement("mirrored", ("CPU:7",)), None, "CPU:7: no such device; there are .*CPU:0"),
        (Placement("mirrored", ("CPU:0", "cpu:0")), None, "each may be named once"),
    ],
)
def test_wrong_use_is_one_line(monkeypatch, placement, tf_config, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(open_ports, "reachable_addresses", lambda: ["10.0.0.1"])
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config if isinstance(tf_config, str) else json.dumps(tf_config))
    with pytest.raises(InputError, match=message) as caught:
        make_strategy(placement, 4)
    assert "\n" not in str(caught.value)


def test_a_cluster_of_one_trains_as_one_process(monkeypatch):
    task = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    strategy = make_strategy(Placement("multi-worker", ("CPU:0",)), 4)
    assert strategy.num_replicas_in_sync == 1
    assert is_chief(strategy)
    assert everyones(strategy, 7) == [7]


def test_workers_with_other_photographs_or_another_folder_are_refused(monkeypatch, photographs, tmp_path):
    config = TrainConfig(data=(str(photographs),), model="rnan_lite").resolved(False)
    monkeypatch.setattr(run, "is_chief", lambda strategy: False)
    strategy = make_strategy(Placement("one"), 4)
    with pytest.raises(JobError, match="a folder that all workers share"):
        run.Run.open(config, tmp_path, strategy)
    monkeypatch.setattr(opening, "everyones", lambda strategy, value: [value, value + 1])
    with pytest.raises(JobError, match="`data` holds other photographs"):
        run.Run.open(config, tmp_path, strategy)
    assert list(tmp_path.iterdir()) == []


def test_an_untested_keras_is_named(monkeypatch, capsys):
    for owner, name in ((trainer, "reduce_per_replica"), (trainer.TensorFlowTrainer, "_maybe_symbolic_build")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    fix_fit_of_several_workers()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(keras, "__version__", "3.99.0")
    fix_fit_of_several_workers()
    assert "was tested with Keras 3.15, this is 3.99.0: install 'keras==3.15.*'" in capsys.readouterr().err
    monkeypatch.delattr(trainer, "reduce_per_replica")
    with pytest.raises(InputError, match=r"this is 3\.99\.0"):
        fix_fit_of_several_workers()
