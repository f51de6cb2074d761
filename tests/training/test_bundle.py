"""training/bundle.py: the best network of a run becomes a preset, with its history and its recipe."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rnan_tf import weights as bundled
from rnan_tf.cli.train import main
from rnan_tf.network.loading import load_model
from rnan_tf.training.config import read_config
from rnan_tf.training.folder import RunFolder
from training import bundle

TINY = Path(__file__).parents[1] / "helpers" / "tiny.json"
SMALL = f"--recipe {TINY} --model rnan_lite --batch-size 2 --patch-size 16 --validate-every 2".split()


def train(photographs, run_dir, *arguments):
    return main([*SMALL, "--data", str(photographs), "--run-dir", str(run_dir), *arguments])


@pytest.fixture
def run_dir(photographs, tmp_path):
    assert train(photographs, tmp_path / "first", "--steps", "5") == 0
    return tmp_path / "first"


@pytest.mark.slow
def test_a_runs_best_network_is_bundled(photographs, run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bundled, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(bundle, "RECIPES", tmp_path)
    monkeypatch.setattr(bundle, "store_fast", lambda *args: None)  # int8 networks have tests of their own
    sets = ["--test-sets", str(tmp_path)]
    capsys.readouterr()
    assert bundle.main(["--run", str(run_dir), *sets]) == 0
    entry = bundled.read_manifest()["demosaic"]
    assert json.loads(capsys.readouterr().out)["demosaic"] == entry
    stored, best = load_model(bundled.preset_path("demosaic")), load_model(run_dir)
    for ours, theirs in zip(stored.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float16))
    assert entry["validation_psnr"] == pytest.approx(best.metadata["details"]["validation_psnr"], abs=0.02)
    assert f"--data {photographs.name} --model rnan_lite --steps 5 --batch-size 2" in entry["commands"][0]
    assert str(tmp_path.parent) not in json.dumps(entry)
    assert bundle.main(["--run", str(tmp_path / "nowhere"), *sets]) == 2
    assert "nowhere: no such model" in capsys.readouterr().err
    folder = RunFolder(run_dir)
    folder.lock()
    assert bundle.main(["--run", str(run_dir), *sets]) == 1
    assert "another process is training here" in capsys.readouterr().err
    folder.release()

    assert train(photographs, tmp_path / "second", "--steps", "1", "--init", "demosaic") == 0
    assert bundle.main(["--run", str(tmp_path / "second"), *sets]) == 0
    second = bundled.read_manifest()["demosaic"]
    assert second["commands"][0] == entry["commands"][0]
    assert second["commands"][1].endswith(f"--init runs/{run_dir.name} --run-dir runs/second")
    assert second["hours"] >= entry["hours"]
    recipe = tmp_path / "demosaic.json"
    assert json.loads(recipe.read_text())["about"]["before"] == entry["commands"]
    trained, told = read_config(tmp_path / "second" / "config.json"), read_config(recipe)
    assert told == dataclasses.replace(trained, data=(photographs.name,), init=f"runs/{run_dir.name}")
