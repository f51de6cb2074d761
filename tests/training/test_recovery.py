"""A run that is killed, stopped or out of space, and started again, ends with the bits of one that was not."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.run_state import final_state

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).parents[1] / "helpers" / "training_driver.py"
STEPS = 12
ARGUMENTS = f"--model rnan_lite --batch-size 2 --patch-size 16 --validate-every 3 --max-bad-steps 2 --steps {STEPS}"
# Step 5 is dropped. 7 and 8 make the run go back to step 6; at half the rate they are as they should be.
POISON = [[5, False], [7, True], [8, True]]
# Chosen places with the step; random times from the first step on, into the validation after it, with the seed.
KILLS = [
    ("random", 0),
    ("checkpoint half written", 3),
    ("random", 1),
    ("validation", 6),
    ("random", 2),
    ("checkpoint not renamed", 6),  # best.keras, last.keras and the pictures are new, the checkpoint is old
    ("step", 7),
    ("random", 3),
    ("older one half removed", 9),
    ("random", 4),
]


def train(photographs, run_dir, **plan):
    plan = json.dumps({"poison": POISON, **plan})
    command = [sys.executable, DRIVER, plan, *ARGUMENTS.split(), "--data", photographs, "--run-dir", run_dir]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def uninterrupted(photographs, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    done = train(photographs, run_dir)
    assert done.returncode == 0, done.stderr
    assert "2 steps in a row" in done.stdout and "going back to step 6 at half the learning rate" in done.stdout
    return final_state(run_dir, STEPS)


def test_killed_ten_times_a_run_ends_with_the_same_bits(photographs, uninterrupted, tmp_path):
    for place, step in KILLS:
        done = train(photographs, tmp_path, end=[place, step, signal.SIGKILL])
        assert done.returncode == -signal.SIGKILL, (place, step, done.stderr)
    done = train(photographs, tmp_path)
    assert done.returncode == 0, done.stderr
    state = final_state(tmp_path, STEPS)
    print({name: state[name]["all"] for name in ("checkpoint", "best.keras", "last.keras")})  # `pytest -s` shows them
    assert [row["step"] for row in state["progress"]["history"]] == [3, 6, 9, 12]
    assert (state["progress"]["dropped"], state["progress"]["rollbacks"]) == (3, 1)
    assert state == uninterrupted
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]  # temporary files of the killed


def test_a_signal_saves_and_says_how_to_go_on(photographs, uninterrupted, tmp_path):
    stops = [("step", 9, signal.SIGINT, 130), ("step", 10, signal.SIGTERM, 143)]
    for place, step, number, code in stops:
        done = train(photographs, tmp_path, end=[place, step, number])
        assert done.returncode == code, done.stderr
        last = f"stopped at step {step + 1} of {STEPS}; run the same command again to go on"
        assert done.stdout.splitlines()[-1] == last
    done = train(photographs, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"going on from step 11 of {STEPS}" in done.stdout
    assert final_state(tmp_path, STEPS) == uninterrupted


@pytest.fixture
def small_disk(tmp_path):
    """Yield (folder, plan that leaves no space in it from step 8 on, function that makes space)."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:  # not allowed here: then files may not become as large as a checkpoint
        yield tmp_path, {"fill": [8, None, 100_000]}, lambda: None
        return
    try:
        yield tmp_path, {"fill": [8, str(tmp_path / "ballast"), None]}, (tmp_path / "ballast").unlink
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(photographs, uninterrupted, small_disk):
    folder, plan, make_space = small_disk
    run_dir = folder / "run"
    done = train(photographs, run_dir, **plan)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "cannot be written" in last and "Traceback" not in done.stderr, done.stderr
    assert [path.name for path in (run_dir / "checkpoints").glob("step*6")] == ["step-000000006"]
    make_space()
    done = train(photographs, run_dir)
    assert done.returncode == 0, done.stderr
    assert "going on from step 6" in done.stdout
    assert final_state(run_dir, STEPS) == uninterrupted
