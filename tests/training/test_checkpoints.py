"""rnan_tf.training.checkpoints: what is damaged is set aside, what cannot be read today is not."""

import errno
import json
import os
import resource
import shutil

import keras
import numpy as np
import pytest

from rnan_tf.errors import JobError
from rnan_tf.training import checkpoints
from rnan_tf.training.checkpoints import Progress, checkpoint_constants, restore_checkpoint, save_checkpoint
from rnan_tf.training.compilation import compile_model
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.train_step import TrainedRNAN


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = TrainedRNAN(filters=4, num_blocks=2, space_to_depth=2, value_range=255.0)
    compile_model(model, TrainConfig(model="rnan_lite", steps=100).resolved(False))
    return model


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    for step in (3, 6):
        save_checkpoint(folder, model, Progress(step=step, best=step))
    return folder


@pytest.fixture
def folder(two, tmp_path):
    """A run's checkpoints of the steps 3 and 6."""
    return shutil.copytree(two, tmp_path / "checkpoints")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


BOTH = ["step-000000003", "step-000000006"]


def test_the_newest_is_loaded(model, folder):
    assert restore_checkpoint(folder, model) == Progress(step=6, best=6)
    assert names(folder) == BOTH
    assert restore_checkpoint(folder / "absent", model) == Progress()


def test_what_a_run_was_resumed_from_is_not_written_anew(model, folder, monkeypatch):
    """Another one of the step could fail half way, when the old one is gone."""
    before = (folder / BOTH[0] / "progress.json").read_bytes()
    monkeypatch.setattr(model, "save_weights", lambda path: pytest.fail("written"))
    save_checkpoint(folder, model, Progress(step=3))
    assert names(folder) == BOTH and (folder / BOTH[0] / "progress.json").read_bytes() == before


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[:512] = bytes(512)
    path.write_bytes(content)


DAMAGES = [
    ("model.weights.h5", cut),
    ("model.weights.h5", flip),
    ("model.weights.h5", lambda path: path.write_bytes(b"")),
    ("model.weights.h5", lambda path: path.unlink()),
    ("progress.json", cut),
    ("progress.json", lambda path: path.write_bytes(b"{")),
    ("progress.json", lambda path: path.write_bytes(b"\xff\x00")),
    ("progress.json", lambda path: path.write_bytes(b"[]")),
    ("progress.json", lambda path: path.unlink()),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_one_is_set_aside(model, folder, capsys, name, damage):
    path = folder / BOTH[1] / name
    before = path.read_bytes()
    damage(path)
    if damage is cut and name == "progress.json":  # it is shorter than what is cut
        path.write_bytes(before[:-10])
    assert restore_checkpoint(folder, model).step == 3
    assert f"damaged checkpoint set aside: {folder / BOTH[1]}" in capsys.readouterr().err
    assert names(folder) == ["damaged-step-000000006", "step-000000003"]


def test_without_a_whole_one_a_run_never_starts_anew(model, folder):
    best = folder.parent / "best.keras"
    best.write_bytes(b"the best network")
    for name in BOTH:
        cut(folder / name / "model.weights.h5")
    for _ in range(3):  # the same command again is no way round
        with pytest.raises(
            JobError, match=r"no checkpoint is whole; start anew in another `run_dir`, with `init` .*best"
        ):
            restore_checkpoint(folder, model)
        assert names(folder) == [f"damaged-{name}" for name in BOTH]
    best.unlink()
    with pytest.raises(JobError, match=r"no checkpoint is whole; start anew in another `run_dir`$"):
        restore_checkpoint(folder, model)
    shutil.rmtree(folder)
    best.write_bytes(b"the best network")
    with pytest.raises(JobError, match="no checkpoint is whole"):
        restore_checkpoint(folder, model)


# === Whole, but not to be read today ===


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOMEM])
@pytest.mark.parametrize("name", ["progress.json", "model.weights.h5"])
def test_what_the_system_does_not_give_is_not_damaged(model, folder, monkeypatch, capsys, number, name):
    error = OSError(number, os.strerror(number))
    if name == "progress.json":
        monkeypatch.setattr(type(folder), "read_bytes", failing(error))
    else:  # HDF5 has its own words, and Keras others
        monkeypatch.setattr(TrainedRNAN, "load_weights", failing(OSError(f"Unable to open file (errno = {number})")))
        monkeypatch.setattr(checkpoints, "open", failing(error), raising=False)
    with pytest.raises(JobError) as caught:
        restore_checkpoint(folder, model)
    message = str(caught.value)
    assert f"{BOTH[1]}/{name}: cannot be read ({os.strerror(number)})" in message and "\n" not in message
    assert names(folder) == BOTH and capsys.readouterr().err == ""


def test_hdf5s_word_for_the_systems_fault_is_not_damaged(model, folder, monkeypatch):
    text = "Unable to synchronously open file (unable to open file: errno = 24, error message = 'Too many open files')"
    monkeypatch.setattr(TrainedRNAN, "load_weights", failing(OSError(text)))
    monkeypatch.setattr(checkpoints.h5py, "File", failing(OSError(text)))
    with pytest.raises(JobError, match="cannot be read"):
        restore_checkpoint(folder, model)
    assert names(folder) == BOTH


def test_no_more_files_may_be_open(model, folder):
    """The real thing: this process may open none."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(JobError, match="Too many open files"):
            restore_checkpoint(folder, model)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert names(folder) == BOTH
    assert restore_checkpoint(folder, model).step == 6


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 9 GiB")])
def test_too_little_memory_is_not_damage(model, folder, monkeypatch, error):
    monkeypatch.setattr(TrainedRNAN, "load_weights", failing(error))
    with pytest.raises(JobError, match="out of memory"):
        restore_checkpoint(folder, model)
    assert names(folder) == BOTH


def test_what_does_not_fit_is_not_damaged_and_another_keras_is_named(model, folder, monkeypatch):
    path = folder / BOTH[1] / "progress.json"
    data = json.loads(path.read_text())
    assert data["keras"] == keras.__version__
    monkeypatch.setattr(
        TrainedRNAN, "load_weights", failing(ValueError("A total of 3 objects could not be loaded.\nx"))
    )
    with pytest.raises(JobError) as caught:
        restore_checkpoint(folder, model)
    message = f"{path.parent}: whole, but cannot be loaded (A total of 3 objects could not be loaded.)"
    assert str(caught.value) == message
    path.write_text(json.dumps({**data, "keras": "3.99.0"}))
    with pytest.raises(JobError) as caught:
        restore_checkpoint(folder, model)
    versions = f"; it was written with Keras 3.99.0, this is {keras.__version__}: install that one"
    assert str(caught.value) == message + versions
    assert names(folder) == BOTH


def test_a_network_of_another_size_is_not_damage(folder):
    model = TrainedRNAN(filters=8, num_blocks=2, space_to_depth=2)
    compile_model(model, TrainConfig(model="rnan_lite", steps=100).resolved(False))
    with pytest.raises(JobError, match="whole, but cannot be loaded"):
        restore_checkpoint(folder, model)
    assert names(folder) == BOTH


def test_a_later_versions_progress_is_not_damage(model, folder):
    path = folder / BOTH[1] / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "phase_of_the_moon": 1}))
    with pytest.raises(JobError, match=r"whole, but cannot be loaded .*phase_of_the_moon"):
        restore_checkpoint(folder, model)
    assert names(folder) == BOTH


def test_version_0_1s_progress_is_read(model, folder):
    path = folder / BOTH[1] / "progress.json"
    data = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("keras", "network")}
    assert checkpoint_constants(folder) == {"normalize_over": "keys", "value_range": 255.0}
    path.write_text(json.dumps(data))
    assert checkpoint_constants(folder) is None
    before = [np.array(weight) for weight in model.weights]
    assert restore_checkpoint(folder, model).step == 6
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
