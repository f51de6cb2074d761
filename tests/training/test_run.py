"""training.train end to end, on a corner of a real photograph, with the smallest patches that show everything."""

import importlib.util
import json
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.data
import skimage.metrics
import tensorflow as tf

from rnan_tf.cli.train import main
from rnan_tf.network.loading import load_model, save_model
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import restore
from rnan_tf.tasks.task import get_task
from rnan_tf.training import callbacks
from rnan_tf.training.callbacks import ProgressBar
from rnan_tf.training.checkpoints import Progress
from rnan_tf.training.compilation import WarmupThenHalve, psnr
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.training.data import RunData
from rnan_tf.training.patches import PatchSpec
from rnan_tf.training.run import Run

# What these tests show does not depend on the network's size, and tracing a real one takes most of their time.
TINY = Path(__file__).parents[1] / "helpers" / "tiny.json"
SMALL = [
    "--recipe",
    str(TINY),
    "--model",
    "rnan_lite",
    "--batch-size",
    "2",
    "--patch-size",
    "16",
    "--validate-every",
    "2",
]


def train(photographs, run_dir, *arguments):
    return main([*SMALL, "--data", str(photographs), "--run-dir", str(run_dir), *arguments])


@pytest.mark.parametrize(
    ("task", "strength"),
    [
        ("demosaic", []),
        pytest.param("denoise", ["--sigma", "0-75"], marks=pytest.mark.slow),
        pytest.param("denoise-gray", ["--sigma", "25"], marks=pytest.mark.slow),
        pytest.param("jpeg", ["--quality", "5-60"], marks=pytest.mark.slow),
        ("jpeg-color", ["--quality", "5-95"]),
        ("sr-x3", []),
    ],
)
def test_each_task_trains_and_its_model_restores(photographs, tmp_path, capsys, task, strength):
    assert train(photographs, tmp_path, "--task", task, *strength, "--steps", "2") == 0
    output = capsys.readouterr().out
    assert output.startswith("model rnan_lite (asked for)")
    assert f"task {task}" in output
    assert str(tmp_path / "best.keras") in output
    for name in ("config.json", "best.keras", "last.keras", "curves.png", "panel.png"):
        assert (tmp_path / name).stat().st_size > 0, name
    assert list(tmp_path.glob("tensorboard/*/events*"))

    model, found = load_model(tmp_path), get_task(task)
    assert model.metadata["task"] == task
    assert model.metadata["details"]["steps"] == 2
    assert "code" in model.metadata["details"]
    assert model.conditional == (strength[1:] in (["0-75"], ["5-95"]))
    image = np.full((9, 11, found.channels), 100, np.uint8)
    restored = restore(KerasRuntime(model).at(25), image, model.scale)
    assert restored.shape == (9 * model.scale, 11 * model.scale, found.channels)


@pytest.fixture(scope="module")
def uninterrupted(photographs, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    assert train(photographs, run_dir, "--steps", "5") == 0
    return run_dir


def final_state(run_dir):
    progress = json.loads((run_dir / "checkpoints" / "step-000000005" / "progress.json").read_text())
    return [w.tobytes() for w in keras.saving.load_model(run_dir / "last.keras", compile=False).get_weights()], progress


@pytest.mark.parametrize("stop_at", [2, 3])  # at a validation, and between two
def test_a_stopped_run_goes_on_to_the_same_bits(photographs, uninterrupted, tmp_path, monkeypatch, capsys, stop_at):
    with monkeypatch.context() as patch:
        count = ProgressBar.on_train_batch_end

        def stop(self, batch, logs=None):
            count(self, batch, logs)
            if self.progress.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(ProgressBar, "on_train_batch_end", stop)
        assert train(photographs, tmp_path, "--steps", "5") == 143
    assert f"stopped at step {stop_at} of 5" in capsys.readouterr().out
    assert train(photographs, tmp_path, "--steps", "5") == 0
    assert f"going on from step {stop_at} of 5" in capsys.readouterr().out
    assert final_state(tmp_path) == final_state(uninterrupted)


@pytest.mark.slow
def test_a_signal_in_the_validation_that_ends_a_fit_stops_the_run(photographs, tmp_path, monkeypatch, capsys):
    def kill(at_step):
        def evaluate_and_kill(*args):
            os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(*args)

        def count_and_kill(self, batch, logs=None):
            count(self, batch, logs)
            if self.progress.step == at_step:
                os.kill(os.getpid(), signal.SIGTERM)

        evaluate, count = callbacks.evaluate, ProgressBar.on_train_batch_end
        patch.setattr(ProgressBar, "on_train_batch_end", count_and_kill)
        if at_step is None:
            patch.setattr(callbacks, "evaluate", evaluate_and_kill)

    for at_step, stopped_at in ((1, 1), (None, 2), (None, 3)):  # the second fit goes only up to the validation
        with monkeypatch.context() as patch:
            kill(at_step)
            assert train(photographs, tmp_path, "--steps", "3") == 143
        assert f"stopped at step {stopped_at} of 3" in capsys.readouterr().out


def test_a_run_only_stores_what_it_is_given(tmp_path):
    config = TrainConfig(task="denoise").resolved(False)
    data = RunData(PatchSpec(get_task("denoise"), (50, 50), 16, 0), [tmp_path / "absent.png"], [])
    run = Run(config, None, data, tmp_path / "absent")
    assert (run.config, run.network, run.data, run.folder) == (config, None, data, tmp_path / "absent")
    assert (run.progress, run.chief, run.strength) == (Progress(), True, 50)
    assert list(tmp_path.iterdir()) == []


def test_networks_are_described_in_files_only(photographs, uninterrupted, tmp_path, capsys):
    recipe = tmp_path / "recipe.json"
    for network, message in (({"filter": 8}, "filter"), ({"filters": 7}, "filters"), ({"scale": 5}, "scale")):
        recipe.write_text(json.dumps({"network": network}))
        assert train(photographs, tmp_path / "run", "--steps", "1", "--recipe", str(recipe)) == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("error: --network {") and message in last
    assert json.loads((uninterrupted / "config.json").read_text())["network"]["filters"] == 8


def test_a_finished_run_says_so(photographs, uninterrupted, capsys):
    before = (uninterrupted / "best.keras").read_bytes()
    assert train(photographs, uninterrupted, "--steps", "5") == 0
    assert "finished already, 5 steps" in capsys.readouterr().out
    assert (uninterrupted / "best.keras").read_bytes() == before


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside(photographs, uninterrupted, tmp_path, capsys):
    assert train(photographs, tmp_path, "--steps", "5") == 0
    newest = tmp_path / "checkpoints" / "step-000000005" / "model.weights.h5"
    newest.write_bytes(newest.read_bytes()[:1000])
    capsys.readouterr()
    assert train(photographs, tmp_path, "--steps", "5") == 0
    captured = capsys.readouterr()
    assert "damaged checkpoint set aside" in captured.err
    assert "going on from step 4 of 5" in captured.out
    assert final_state(tmp_path) == final_state(uninterrupted)


def test_init_starts_from_another_runs_weights_and_is_not_needed_again(photographs, uninterrupted, tmp_path, capsys):
    init, run_dir = tmp_path / "init.keras", tmp_path / "run"
    start = load_model(uninterrupted).rebuild(value_range=2.0, normalize_over="queries")  # as of a converted network
    save_model(start, init)
    arguments = ["--steps", "1", "--init", str(init), "--learning-rate", "1e-9"]
    assert train(photographs, run_dir, *arguments) == 0
    for ours, theirs in zip(load_model(run_dir).get_weights(), start.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)

    init.unlink()
    progress = run_dir / "checkpoints" / "step-000000001" / "progress.json"
    for _ in range(2):
        capsys.readouterr()
        assert train(photographs, run_dir, *arguments) == 0
        assert "finished already, 1 steps" in capsys.readouterr().out
        kept = json.loads(progress.read_text())  # version 0.1 kept no constants: then they are those of last.keras
        progress.write_text(json.dumps({key: value for key, value in kept.items() if key not in ("network", "keras")}))
    config = read_config(run_dir / "config.json")
    with Run.open(config, run_dir) as run:
        assert (run.network.value_range, run.network.normalize_over) == (2.0, "queries")


def test_float16_of_a_network_that_normalises_over_the_queries_is_refused(photographs, uninterrupted, tmp_path, capsys):
    init = tmp_path / "init.keras"
    save_model(load_model(uninterrupted).rebuild(normalize_over="queries"), init)
    assert train(photographs, tmp_path / "run", "--init", str(init), "--precision", "float16") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "--precision float16 overflows in" in line and "give bfloat16" in line


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_train_and_go_on(photographs, tmp_path, precision, capsys):
    arguments = ["--steps", "3", "--precision", precision]
    assert train(photographs, tmp_path, *arguments) == 0  # from 2 on out of a checkpoint
    assert "damaged" not in capsys.readouterr().err
    assert all(np.isfinite(weight).all() for weight in load_model(tmp_path).get_weights())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--patch-size", "80"], "80x80"),
        (["--init", "nowhere.keras"], "nowhere.keras: no such model"),
        (["--sigma", "10"], "task demosaic has no --sigma"),
        (
            ["--task", "jpeg-color", "--subsampling", "4:2:2", "--data-service", "grpc://localhost:1"],
            "--data-service cannot run Pillow, which --subsampling 4:2:2 needs",
        ),
    ],
)
def test_wrong_use_is_one_line_and_2(photographs, tmp_path, capsys, arguments, message):
    assert train(photographs, tmp_path / "run", "--steps", "1", *arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_another_configuration_is_refused(photographs, uninterrupted, capsys):
    assert train(photographs, uninterrupted, "--steps", "6") == 2
    assert "steps 5 there, 6 now" in capsys.readouterr().err


def test_init_from_another_task_takes_all_but_the_ends(photographs, uninterrupted, tmp_path, capsys):
    recipe, run_dir = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(TINY.read_text().replace('"space_to_depth": 2', '"subpixel_tail": true'))  # as of rnan_lite_sr
    arguments = ["--recipe", str(recipe), "--task", "sr-x2", "--model", "rnan_lite_sr", "--init", str(uninterrupted)]
    assert train(photographs, run_dir, "--steps", "1", "--learning-rate", "1e-9", *arguments) == 0
    assert "other shapes: head/kernel\n" in capsys.readouterr().out
    ours, theirs = ({w.path: w for w in load_model(folder).weights} for folder in (run_dir, uninterrupted))
    np.testing.assert_allclose(ours["body/kernel"], theirs["body/kernel"], atol=1e-7)
    assert ours["head/kernel"].shape != theirs["head/kernel"].shape


def test_init_of_another_size_is_refused(photographs, uninterrupted, tmp_path, capsys):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(TINY.read_text().replace('"num_blocks": 2', '"num_blocks": 3'))
    arguments = ["--steps", "1", "--init", str(uninterrupted), "--recipe", str(recipe)]
    assert train(photographs, tmp_path / "run", *arguments) == 2
    assert "are not of the model size" in capsys.readouterr().err


def test_a_run_folder_below_a_file_fails_with_1(photographs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(photographs, tmp_path / "file" / "run", "--steps", "1") == 1
    assert "cannot be made" in capsys.readouterr().err


def test_out_of_memory_names_what_to_change_and_the_folder_takes_it(photographs, tmp_path, monkeypatch, capsys):
    def allocate(self, batch, logs=None):
        tf.zeros(2**45)  # more than a process can address

    monkeypatch.setattr(ProgressBar, "on_train_batch_begin", allocate)
    assert train(photographs, tmp_path, "--steps", "1") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: out of memory at step 1 with 2 patches of 16x16 in 1 piece(s);")
    assert all(flag in last for flag in ("--accumulate", "--batch-size", "--patch-size"))
    # Nothing is done yet, so that the folder takes another configuration.
    assert train(photographs, tmp_path, "--steps", "1", "--accumulate", "2", "--task", "denoise-gray") == 1
    assert "16x16 in 2 piece(s);" in capsys.readouterr().err


def test_runs_older_than_an_option_go_on(photographs, uninterrupted, capsys):
    config = uninterrupted / "config.json"
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k != "accumulate"}))
    assert train(photographs, uninterrupted, "--steps", "5") == 0
    assert train(photographs, uninterrupted, "--steps", "5", "--accumulate", "2") == 2
    assert "accumulate 1 there, 2 now" in capsys.readouterr().err


def test_the_bars_psnr_is_scikit_images():
    clean, noisy = (np.random.default_rng(i).random((2, 8, 8, 3), np.float32) for i in range(2))
    expected = [skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(psnr(clean, noisy), expected, rtol=1e-5)


def test_the_step_schedule_rises_then_halves():
    schedule = WarmupThenHalve(1.0, warmup_steps=4, halve_every=10)
    assert [float(schedule(step)) for step in (0, 1, 3, 9, 10, 25)] == [0.25, 0.5, 1, 1, 0.5, 0.25]
    assert schedule.get_config() == WarmupThenHalve.from_config(schedule.get_config()).get_config()


def test_a_missing_extra_is_one_line_before_anything_is_done(photographs, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert train(photographs, tmp_path / "run", "--steps", "1") == 2
    assert capsys.readouterr().err == "error: matplotlib not installed: pip install 'rnan-tf[train]'\n"
    assert not (tmp_path / "run").exists()
