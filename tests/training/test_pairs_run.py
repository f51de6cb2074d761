"""Runs on the user's own pairs and on camera noise: what is kept of them, what is refused, what they learn from."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.cli.info import describe
from rnan_tf.cli.train import main, parse_arguments
from rnan_tf.errors import InputError, with_dashes
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.training import opening, run
from rnan_tf.training.checkpoints import Progress
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.training.run import Run
from tests.helpers.quick import quick
from tests.helpers.run_state import final_state
from tests.training.test_recovery import ARGUMENTS, DRIVER, STEPS
from tests.training.test_run import SMALL
from training import bundle

CAT = skimage.data.chelsea()


def save_pair(folder, name, number):
    clean = CAT[number * 5 :][:60, 100:170]
    noise = np.random.default_rng(number).normal(0, 20, clean.shape)
    for kind, pixels in (("clean", clean), ("noisy", np.clip(clean + noise, 0, 255).astype(np.uint8))):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / name)


@pytest.fixture
def pairs(tmp_path):
    """Four pairs: 0.png is held out."""
    for number in range(4):
        save_pair(tmp_path, f"{number}.png", number)
    return [str(tmp_path / "noisy"), str(tmp_path / "clean")]


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Open a run without a network; it counts as one that goes on afterwards."""
    monkeypatch.setattr(opening, "build_model", lambda *args: None)
    monkeypatch.setattr(run, "compile_model", lambda *args: None)
    monkeypatch.setattr(opening, "restore_checkpoint", lambda *args, **kwargs: Progress())

    def open_run(pairs, data_changed=False):
        config = TrainConfig(task="denoise", pairs=tuple(pairs), model="rnan_lite", patch_size=16)
        with Run.open(config.resolved(False), tmp_path / "run", data_changed=data_changed) as opened:
            (tmp_path / "run" / "best.keras").touch()
            return opened.data

    return open_run


def names(data):
    return [pair.clean.name for pair in data.files], [name for name, _, _ in data.validation_images]


def test_what_is_kept_of_the_pairs(pairs, opened, tmp_path):
    data = opened(pairs)
    assert names(data) == (["1.png", "2.png", "3.png"], ["0.png"])
    assert data.spec.paired and not data.spec.conditional and data.cached
    _, clean, degraded = data.validation_images[0]
    np.testing.assert_array_equal(clean, CAT[:60, 100:170])
    assert 15 < (degraded.astype(float) - clean).std() < 21
    assert read_config(tmp_path / "run" / "config.json").pairs == tuple(pairs)
    (held_out,) = json.loads((tmp_path / "run" / "data.json").read_text())["validation"]
    assert held_out["file"] == f"{pairs[1]}/0.png" and held_out["degraded"] == f"{pairs[0]}/0.png"


def test_a_run_goes_on_with_the_same_pairs_under_any_name_and_no_others(pairs, opened, tmp_path):
    first = names(opened(pairs))
    moved = [str(tmp_path / "moved" / name) for name in ("noisy", "clean")]
    for source, target in zip(pairs, moved, strict=True):
        shutil.copytree(source, target)
    assert names(opened(moved)) == first
    Image.fromarray(CAT[:60, 100:170]).save(tmp_path / "noisy" / "2.png")  # the clean one is as it was
    with pytest.raises(InputError, match=r"^`pairs` has other photographs than the run began with: changed 2\.png"):
        opened(pairs)
    assert names(opened(pairs, data_changed=True)) == (["1.png", "2.png", "3.png"], ["0.png"])


def test_a_clean_photograph_that_is_held_out_is_not_trained_on_under_another_name(pairs, opened, tmp_path):
    save_pair(tmp_path, "9.png", 7)
    shutil.copy(tmp_path / "clean" / "0.png", tmp_path / "clean" / "9.png")
    assert names(opened(pairs)) == (["1.png", "2.png", "3.png"], ["0.png"])


def test_a_pair_that_does_not_fit_is_named_and_another_is_held_out(pairs, opened, tmp_path, capsys):
    Image.fromarray(CAT[:50, :70]).save(tmp_path / "noisy" / "0.png")
    (tmp_path / "noisy" / "1.png").write_bytes(b"no image")
    data = opened(pairs)
    assert names(data) == (["0.png", "1.png", "3.png"], ["2.png"])
    said = capsys.readouterr().err
    assert said.count("0.png: has 70x60 pixels, but must be as large as") == said.count("1.png: is not a PNG") == 1
    (tmp_path / "noisy" / "0.png").unlink()
    with pytest.raises(InputError, match=r"gone 0\.png"):
        opened(pairs)
    assert names(opened(pairs, data_changed=True)) == (["1.png", "3.png"], ["2.png"])


def test_in_every_part_another_is_held_out(pairs, opened, tmp_path):
    for number in range(4, 45):
        save_pair(tmp_path, f"{number:02d}.png", number)
    every = sorted((tmp_path / "noisy").iterdir())
    every[0].write_bytes(b"no image")
    assert names(opened(pairs))[1] == [every[1].name, every[22].name]


def test_what_shows_the_held_out_photograph_stays_left_out(pairs, opened, tmp_path):
    (tmp_path / "noisy" / "0.png").write_bytes(b"no image")
    save_pair(tmp_path, "9.png", 7)
    shutil.copy(tmp_path / "clean" / "1.png", tmp_path / "clean" / "9.png")
    for _ in range(2):  # going on, the run does not look for a pair that can be used
        assert names(opened(pairs)) == (["0.png", "2.png", "3.png"], ["1.png"])


def test_pairs_none_of_which_can_be_used(pairs, opened, tmp_path):
    for number in range(4):
        (tmp_path / "noisy" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="none of 4 pairs can be used"):
        opened(pairs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pairs": ("a",)}, "--pairs must be two folders, degraded and clean; got a"),
        ({"pairs": ("a", "b"), "data": ("c",)}, "--pairs are degraded already; leave --data, "),
        ({"pairs": ("a", "b"), "sigma": "25"}, "--pairs are degraded already"),
        ({"pairs": ("a", "b"), "noise": "camera"}, "--pairs are degraded already"),
        ({"pairs": ("a", "b"), "task": "demosaic"}, "task demosaic makes its mosaics itself"),
        ({"pairs": ("a", "b"), "val_data": ("c",)}, "--val-data needs --data"),
        ({"noise": "camera", "sigma": "25"}, "--noise camera draws its own strength; leave --sigma out"),
        ({"noise": "camera", "task": "sr-x2"}, "task sr-x2 has no noise; leave --noise out"),
        ({"noise": "camera", "task": "jpeg"}, "task jpeg has no noise"),
    ],
)
def test_what_does_not_go_together(wrong, message):
    with pytest.raises(InputError) as caught:
        TrainConfig(**{"task": "denoise", **wrong}).resolved(False)
    assert with_dashes(str(caught.value)).startswith(message)


def test_a_recipes_strength_is_not_that_of_pairs(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"task": "denoise", "sigma": "0-75"}')
    for option in (["--pairs", "a", "b"], ["--noise", "camera"]):
        assert parse_arguments(["--recipe", str(recipe), *option]).config.resolved(False).sigma is None


def test_a_data_service_is_refused(pairs, tmp_path, capsys):
    flags = ["--task", "denoise", "--pairs", *pairs, "--run-dir", str(tmp_path / "run"), "--data-service", "grpc://x:1"]
    assert main([*SMALL, *flags]) == 2
    assert "--data-service degrades photographs, and --pairs are degraded; leave one out" in capsys.readouterr().err


def test_one_pair_is_too_few(tmp_path, capsys):
    save_pair(tmp_path, "a.png", 0)
    flags = ["--task", "denoise", "--pairs", str(tmp_path / "noisy"), str(tmp_path / "clean")]
    assert main([*SMALL, *flags, "--run-dir", str(tmp_path / "run")]) == 2
    assert "one photograph cannot be trained and validated on; add more to both of --pairs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", quick(["pairs"], ["pairs", "camera"]))
def test_it_trains_and_restores(pairs, tmp_path, capsys, options):
    flags = {"pairs": ["--pairs", *pairs], "camera": ["--noise", "camera", "--data", pairs[1]]}[options]
    run_dir = tmp_path / "run"
    assert main([*SMALL, "--task", "denoise", *flags, "--run-dir", str(run_dir), "--steps", "2"]) == 0
    output = capsys.readouterr().out
    assert "held-out photograph(s), task denoise:" in output  # no sigma, which there is none
    restorer = Restorer.from_preset(run_dir)
    assert restorer.card.details[{"pairs": "pairs", "camera": "noise"}[options]]
    assert not restorer.card.conditional
    assert "sigma" not in describe(str(run_dir))
    assert restorer(CAT[:33, :40]).shape == (33, 40, 3)
    with pytest.raises(InputError, match="is not told the sigma; leave `sigma` out"):
        restorer(CAT[:33, :40], sigma=25)
    with pytest.raises(InputError, match="trained on pairs or camera noise"):
        bundle.store(run_dir)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["pairs", "camera"])
def test_killed_runs_end_with_the_same_bits(pairs, tmp_path, options):
    flags = {"pairs": ["--pairs", *pairs], "camera": ["--noise", "camera", "--data", pairs[1]]}[options]

    def train(run_dir, plan):
        command = [sys.executable, DRIVER, json.dumps(plan), *ARGUMENTS.split(), "--task", "denoise", *flags]
        return subprocess.run([*command, "--run-dir", run_dir], capture_output=True, text=True, timeout=900).returncode

    assert train(tmp_path / "whole", {}) == 0
    for place, step in (("step", 4), ("validation", 6), ("random", 1)):
        assert train(tmp_path / "killed", {"end": [place, step, signal.SIGKILL]}) == -signal.SIGKILL
    assert train(tmp_path / "killed", {}) == 0
    assert final_state(tmp_path / "killed", STEPS) == final_state(tmp_path / "whole", STEPS)
