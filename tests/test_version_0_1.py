"""What version 0.1 wrote (`tests/data/version_0_1`) is read, resumed, restored with and bundled, with equal results.

Equal to the last bit on the machine and with the packages that made it (see `resumed.json`), else up to rounding.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from rnan_tf import weights as bundled
from rnan_tf.network.loading import load_model
from rnan_tf.photos.photo import read_photo
from rnan_tf.restoring.card import card_of
from tests.helpers.run_state import final_state
from tests.helpers.version_0_1 import machine, serve
from tests.training.test_recovery import DRIVER
from training import bundle

DATA = Path(__file__).parent / "data" / "version_0_1"
ARGUMENTS = "--model rnan_lite --task denoise --sigma 0-75 --batch-size 2 --patch-size 16 --validate-every 3 --steps 12"
# Model -> (input and --sigma, expected).
NETWORKS = {
    "run": ("denoise.png --sigma 25", "run.png"),
    "run/last.keras": ("denoise.png --sigma 25", "run.png"),  # the stopped run's last network is its best
    "models/denoise-gray.keras": ("denoise-gray.png", "denoise-gray.png"),
    "models/sr-x2.keras": ("sr-x2.png", "sr-x2.png"),
}
EXPORTS = {
    f"models/{name}{suffix}": (arguments, f"{name}{suffix}.png")
    for name, arguments in (("denoise", "denoise.png --sigma 25"), ("sr-x2", "sr-x2.png"))
    for suffix in ("-fp32.tflite", "-int8.tflite", ".onnx")
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The run, the networks and the exports, which no test may change."""
    folder = tmp_path_factory.mktemp("version_0_1")
    with tarfile.open(DATA / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def resumed():
    return json.loads((DATA / "resumed.json").read_text())


@pytest.fixture(scope="module")
def same_machine(resumed):
    return resumed["machine"] == machine()


@pytest.fixture
def run_dir(files, tmp_path):
    return Path(shutil.copytree(files / "run", tmp_path / "run"))


def assert_equal(restored, expected, same_machine):
    expected = read_photo(DATA / "expected" / expected).pixels
    assert (restored.shape, restored.dtype) == (expected.shape, expected.dtype)
    differences = np.abs(restored.astype(int) - expected)
    if same_machine:
        assert not differences.any(), (differences.max(), np.mean(differences > 0))
    else:  # a value between two levels may be rounded to either; int8's ranges are found from such values
        assert differences.max() <= 2 and differences.mean() <= 0.05


@pytest.mark.parametrize("model", [*NETWORKS, *EXPORTS])
def test_a_model_restores_as_it_did(model, files, rnan_tf, same_machine):
    arguments, expected = (NETWORKS | EXPORTS)[model]
    code, _, errors = rnan_tf(f"restore {DATA}/inputs/{arguments} -o restored.png --model {files / model}")
    assert (code, errors) == (0, [])
    assert_equal(read_photo("restored.png").pixels, expected, same_machine)


@pytest.mark.parametrize(("name", "level"), [("denoise", 25), ("sr-x2", None)])
def test_a_saved_model_serves_as_it_did(name, level, files, same_machine):
    restored = serve(files / "saved_models" / name / "1", DATA / "inputs" / f"{name}.png", level)
    assert_equal(restored, f"{name}-saved_model.png", same_machine)


def test_what_a_network_was_trained_for_is_read(files, rnan_tf):
    names = ("run", "models/denoise-gray.keras", "models/sr-x2.keras")
    assert [
        (card.task, card.strength, card.strengths, card.details["steps"], card.conditional, card.scale)
        for card in (card_of(load_model(files / name), name) for name in names)
    ] == [
        ("denoise", "sigma", (0, 75), 6, True, 1),
        ("denoise-gray", "sigma", (25, 25), 12, False, 1),
        ("sr-x2", None, None, 3, False, 2),
    ]
    for name in (*names, *EXPORTS):
        code, out, errors = rnan_tf(f"info {files / name}")
        assert (code, errors) == (0, []) and "level" not in "".join(out)
        said = dict(line.split(maxsplit=1) for line in out)
        assert said["task"] == ("sr-x2" if "sr-x2" in name else "denoise-gray" if "gray" in name else "denoise")
        assert said.get("sigma") == {"sr-x2": None, "denoise-gray": "25", "denoise": "0-75"}[said["task"]]


@pytest.mark.parametrize(("task", "arguments"), [("denoise", "denoise.png --sigma 25"), ("sr-x2", "sr-x2.png")])
def test_a_saved_model_restores_as_it_did(task, arguments, files, rnan_tf, same_machine):
    """It holds no card; the task is the user's to say."""
    line = f"restore {DATA}/inputs/{arguments} -o restored.png --model {files / 'saved_models' / task}"
    code, _, errors = rnan_tf(f"{line} --task {task}")
    assert (code, errors) == (0, [])
    assert_equal(read_photo("restored.png").pixels, f"{task}-saved_model.png", same_machine)
    code, _, errors = rnan_tf(line)
    assert code == 2 and len(errors) == 1 and "give --task" in errors[0]


def values(hashes):
    """Return the hashes of arrays, whatever the arrays are called now."""
    return sorted(digest for name, digest in hashes.items() if name != "all")


def test_the_run_goes_on_to_what_it_ended_with(run_dir, resumed, same_machine):
    command = [sys.executable, DRIVER, "{}", *ARGUMENTS.split(), "--run-dir", run_dir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "going on from step 7 of 12" in done.stdout
    state = final_state(run_dir, 12)
    history, before = state["progress"].pop("history"), resumed["progress"]["history"]
    assert [row["step"] for row in history] == [row["step"] for row in before] == [3, 6, 9, 12]
    for row, expected in zip(history, before, strict=True):
        assert row == (expected if same_machine else pytest.approx(expected, rel=1e-3))
    if same_machine:
        for name in ("checkpoint", "best.keras", "last.keras"):
            assert values(state[name]) == values(resumed[name]), name
        expected = {key: value for key, value in resumed["progress"].items() if key != "history"}
        assert {key: state["progress"][key] for key in expected} == expected


def test_the_run_is_refused_to_another_configuration(run_dir):
    command = [sys.executable, DRIVER, "{}", *ARGUMENTS.replace("0-75", "0-50").split(), "--run-dir", run_dir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 2 and "holds a run of another configuration" in done.stderr


@pytest.mark.slow
def test_the_run_is_bundled(run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bundled, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(bundle, "RECIPES", tmp_path)
    monkeypatch.setattr(bundle, "store_fast", lambda *args: None)  # int8 networks have tests of their own
    assert bundle.main(["--run", str(run_dir), "--test-sets", str(tmp_path)]) == 0
    capsys.readouterr()
    entry = bundled.read_manifest()["denoise"]
    assert (entry["file"], entry["run"], entry["data"]) == ("denoise.keras", "run", [])
    assert entry["validation_strength"] == 50
    assert entry["commands"] == [  # to repeat it today, what were the defaults must be named
        "python training/train.py --task denoise --sigma 0-75 --model rnan_lite --steps 12 --batch-size 2 "
        "--patch-size 16 --busiest-of 1 --optimizer adam --learning-rate 0.001 --schedule cosine --loss l1 "
        "--clipnorm 1.0 --validate-every 3 --run-dir runs/run"
    ]
    assert entry["code"] == "2758090"
    best = json.loads((run_dir / "checkpoints" / "step-000000007" / "progress.json").read_text())["best"]
    assert entry["validation_psnr"] == pytest.approx(best, abs=0.01)
    assert card_of(load_model("denoise"), "denoise").strengths == (0, 75)
