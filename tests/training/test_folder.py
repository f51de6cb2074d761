"""rnan_tf.training.folder: what is no run's is neither entered nor touched, and one process at a time writes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnan_tf.cli.train import main
from rnan_tf.errors import InputError, JobError
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.folder import LOCK, RunFolder

ROOT = Path(__file__).parents[2]
DIGITS = "0123456789abcdef"


def fill(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = [
    ["notes.txt"],
    [f".thesis-{DIGITS}.tex"],
    [".hidden"],
    ["checkpoints/step-000000000/model.h5"],
    ["checkpoints/step-000000007/model.h5", "best.keras"],
    ["config.json"],  # of something else
    ["data.json"],
]


@pytest.mark.parametrize("files", FOREIGN)
def test_a_folder_that_is_no_run_is_refused_and_untouched(tmp_path, capsys, files):
    fill(tmp_path, *files)
    before = tree(tmp_path)
    assert main(["--model", "rnan_lite", "--steps", "1", "--run-dir", str(tmp_path)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path} holds other files ({files[0].partition('/')[0]}") or len(files) > 1
    assert "and no run; give a new or an empty --run-dir" in line
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", ["[]", "{", '{"model_type": "bert", "task": "fill"}', "null", '"x"'])
def test_another_programs_config_json_is_no_runs(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="holds other files"):
        RunFolder(tmp_path).check()
    assert (tmp_path / "config.json").read_text() == text


def test_what_is_entered(tmp_path):
    RunFolder(tmp_path / "absent").check()
    RunFolder(tmp_path).check()  # empty
    fill(tmp_path, LOCK, f".rnan-tf-{DIGITS}-config.json")  # of a process that was killed early
    RunFolder(tmp_path).check()
    TrainConfig().resolved(False).write(tmp_path)
    fill(tmp_path, "notes.txt")
    RunFolder(tmp_path).check()
    with pytest.raises(JobError, match="cannot be made"):
        RunFolder(tmp_path / "notes.txt").check()


OURS = [
    f".rnan-tf-{DIGITS}-best.keras",
    f".rnan-tf-{DIGITS}-photographs/0.png",
    f"photographs/.rnan-tf-{DIGITS}-1a2b/0",
]
OURS += [f".best-{DIGITS}.keras", f".config-{DIGITS}.json"]  # version 0.1's
OURS += [f"checkpoints/.rnan-tf-{DIGITS}-step-000000003/a", f"checkpoints/.step-000000003-{DIGITS}/a"]
OTHERS = [f".thesis-{DIGITS}.tex", "checkpoints/step-by-step.txt", "checkpoints/notes/step-000000000", "best.txt"]
OTHERS += [f"checkpoints/.notes-{DIGITS}", ".rnan-tf-notes"]


def test_only_what_a_run_writes_is_removed(tmp_path):
    TrainConfig().resolved(False).write(tmp_path)
    fill(tmp_path, *OURS, *OTHERS, "checkpoints/step-000000000/a")
    folder = RunFolder(tmp_path)
    assert not folder.is_started()
    folder.tidy(started=False)
    assert sorted(tree(tmp_path)) == sorted([*OTHERS, "config.json"])


def test_a_started_run_keeps_its_checkpoints(tmp_path):
    kept = ["checkpoints/step-000000000/a", "checkpoints/step-000000003/a"]
    fill(tmp_path, *kept, *OURS)
    folder = RunFolder(tmp_path)
    assert folder.is_started()
    folder.tidy(started=True)
    assert sorted(tree(tmp_path)) == kept


@pytest.mark.parametrize("name", ["best.keras", "checkpoints/step-000000003/a", "checkpoints/damaged-step-000000000/a"])
def test_what_starts_a_run(tmp_path, name):
    folder = RunFolder(tmp_path)
    fill(tmp_path, "checkpoints/step-000000000/a", "last.keras")
    assert not folder.is_started()
    fill(tmp_path, name)
    assert folder.is_started()


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    fill(tmp_path, "checkpoints/step-000000003/a")
    TrainConfig().resolved(False).write(tmp_path)
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "checkpoints":
            raise OSError(5, os.strerror(5))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(JobError, match="cannot be looked into"):
        RunFolder(tmp_path).is_started()


# === The lock ===


def test_a_second_run_in_the_folder_is_refused_in_one_line(tmp_path, capsys):
    run_dir = tmp_path / "run"
    first = RunFolder(run_dir)
    first.lock()
    assert main(["--model", "rnan_lite", "--steps", "1", "--run-dir", str(run_dir)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {run_dir}: another process is training here") and "--run-dir" in line
    assert [path.name for path in run_dir.iterdir()] == [LOCK]
    first.release()
    second = RunFolder(run_dir)
    second.lock()
    second.release()


def test_the_system_releases_a_killed_processs_lock(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from rnan_tf.training.folder import RunFolder\n"
        f"folder = RunFolder(Path({str(tmp_path)!r})); folder.lock(); print('locked', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "locked\n"
        folder = RunFolder(tmp_path)
        with pytest.raises(JobError, match="another process is training here"):
            folder.lock()
        process.send_signal(signal.SIGKILL)
        process.wait()
        folder.lock()
        folder.release()
    finally:
        process.kill()
        process.wait()


def test_a_file_system_without_locks_is_named_and_used(tmp_path, monkeypatch, capsys):
    import fcntl

    def no_locks(*args):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    RunFolder(tmp_path).lock()
    assert f"warning: {tmp_path} cannot be locked" in capsys.readouterr().err


def test_a_runs_configuration_is_told_from_others(tmp_path):
    for config in ({"task": "denoise", "level": "25", "model": "rnan", "batch_size": 1, "patch_size": 48},):
        (tmp_path / "config.json").write_text(json.dumps({**config, "validate_every": 3}))  # version 0.1's
        RunFolder(tmp_path).check()
