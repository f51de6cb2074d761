"""A run goes on with the photographs that it began with, told by their contents, each used as before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf.cli.train import main
from rnan_tf.errors import InputError, with_dashes
from rnan_tf.training import memory, opening, run
from rnan_tf.training.checkpoints import Progress
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.data import read_split
from rnan_tf.training.folder import RunFolder
from rnan_tf.training.run import Run

CAT = skimage.data.chelsea()


def save(path, number):
    Image.fromarray(CAT[number * 5 :][:60, 100:170]).save(path)


@pytest.fixture
def photos(tmp_path):
    """Six photographs: 0.png is held out, the others are trained on."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        save(folder / f"{number}.png", number)
    return folder


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Open a run without a network; `started` leaves a result, so that the folder is taken as a run that goes on."""
    monkeypatch.setattr(opening, "build_model", lambda *args: None)
    monkeypatch.setattr(run, "compile_model", lambda *args: None)
    monkeypatch.setattr(opening, "restore_checkpoint", lambda *args, **kwargs: Progress())

    def open_run(*data, val_data=(), started=True, data_changed=False, task="denoise"):
        config = TrainConfig(
            task=task, data=tuple(map(str, data)), val_data=tuple(map(str, val_data)), model="rnan_lite", patch_size=16
        )
        with Run.open(config.resolved(False), tmp_path / "run", data_changed=data_changed) as opened:
            if started:
                (tmp_path / "run" / "best.keras").touch()
            return opened.data

    return open_run


def names(data):
    return [file.name for file in data.files], [name for name, _ in data.validation_images]


def read(folder):
    return (folder / "data.json").read_bytes()


FIRST = (["1.png", "2.png", "3.png", "4.png", "5.png"], ["0.png"])


def test_what_is_kept_of_the_photographs(photos, opened, tmp_path):
    assert names(opened(photos)) == FIRST
    data = json.loads(read(tmp_path / "run"))
    assert data["cached"] is True
    assert [(photo["file"], photo["bytes"]) for photo in data["training"]] == [
        (str(photos / name), (photos / name).stat().st_size) for name in FIRST[0]
    ]
    assert all(len(photo["sha256"]) == 64 for photo in (*data["training"], *data["validation"]))


def test_what_cannot_be_read_is_named_and_another_photograph_is_held_out(photos, opened, capsys):
    (photos / "0.png").write_bytes(b"no image")
    expected = ["0.png", "2.png", "3.png", "4.png", "5.png"], ["1.png"]
    assert names(opened(photos)) == expected
    assert capsys.readouterr().err.count("0.png: is not a PNG") == 1
    assert names(opened(photos)) == expected
    save(photos / "0.png", 0)
    with pytest.raises(InputError, match=r"changed 0\.png"):
        opened(photos)
    assert names(opened(photos, data_changed=True))[1] == ["1.png"]


def test_photographs_none_of_which_can_be_read(photos, opened):
    for file in photos.iterdir():
        file.write_bytes(b"no image" + file.name.encode())
    with pytest.raises(InputError, match="none of 6 images can be used"):
        opened(photos)


def test_a_run_goes_on_with_the_same_photographs_under_any_name(photos, opened, tmp_path, monkeypatch):
    first = opened(photos)
    kept = read(tmp_path / "run")
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(photos, moved)
    monkeypatch.chdir(moved.parent)
    (moved / "0.png").rename(moved / "9.png")  # the order and the split stay, whatever the names
    (moved / "1.png").rename(moved / "a.png")
    second = opened("moved")
    assert names(second) == (["a.png", *FIRST[0][1:]], ["9.png"])
    np.testing.assert_array_equal(second.validation_images[0][1], first.validation_images[0][1])
    assert second.key == first.key
    assert read(tmp_path / "run") != kept  # where they are now
    shutil.rmtree(photos)
    assert names(opened("moved")) == names(second)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: save(folder / "3.png", 9), "changed 3.png"),
        (lambda folder: save(folder / "0.png", 9), "changed 0.png"),
        (lambda folder: save(folder / "7.png", 9), "new 7.png"),
        (lambda folder: (folder / "2.png").unlink(), "gone 2.png"),
        (lambda folder: (folder / "2.png").write_bytes(b""), "changed 2.png"),
        (
            lambda folder: [save(folder / f"{number}.png", number) for number in range(10, 15)],
            "new 10.png, 11.png, 12.png and 2 more",
        ),
    ],
)
def test_other_photographs_are_refused_and_named(photos, opened, tmp_path, change, named):
    opened(photos)
    kept = read(tmp_path / "run")
    change(photos)
    with pytest.raises(InputError) as caught:
        opened(photos)
    expected = f"--data has other photographs than the run began with: {named}; bring them back, or go on with these by"
    assert with_dashes(str(caught.value)) == f"{expected} --data-changed ok"
    assert read(tmp_path / "run") == kept


def test_the_command_line_refuses_them_too(photos, opened, tmp_path, capsys):
    opened(photos, task="denoise-gray")
    save(photos / "3.png", 9)
    flags = ["--task", "denoise-gray", "--model", "rnan_lite", "--patch-size", "16"]
    assert main([*flags, "--data", str(photos), "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "changed 3.png" in line


def test_with_leave_a_run_goes_on_with_others_and_keeps_its_split(photos, opened, tmp_path):
    first = opened(photos)
    save(photos / "!first.png", 7)  # would be held out, were the photographs split anew
    save(photos / "3.png", 8)
    (photos / "5.png").unlink()
    shutil.copy(photos / "0.png", photos / "x.png")
    expected = (["!first.png", "1.png", "2.png", "3.png", "4.png"], ["0.png"])
    found = opened(photos, data_changed=True)
    assert tuple(map(sorted, names(found))) == expected
    assert found.key != first.key  # of the data service's copies
    assert names(opened(photos)) == names(found)  # from now on they are the run's
    save(photos / "0.png", 11)  # what was held out is, whatever it shows now
    (photos / "x.png").unlink()
    assert tuple(map(sorted, names(opened(photos, data_changed=True)))) == expected


def test_with_leave_nothing_changes_sides(photos, opened, tmp_path):
    validation = tmp_path / "validation"
    validation.mkdir()
    save(validation / "v.png", 20)
    save(validation / "w.png", 21)
    opened(photos, val_data=[validation])
    (validation / "v.png").rename(photos / "v.png")
    (photos / "1.png").rename(validation / "1.png")
    with pytest.raises(InputError, match=r"moved between `data` and `val_data` 1.png, v.png"):
        opened(photos, val_data=[validation])
    save(validation / "new.png", 22)
    training, held_out = names(opened(photos, val_data=[validation], data_changed=True))
    assert sorted(training) == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"]
    assert sorted(held_out) == ["new.png", "v.png", "w.png"]


def test_nothing_left_to_validate_on_is_refused(photos, opened):
    opened(photos)
    (photos / "0.png").unlink()
    with pytest.raises(InputError, match="nothing left of what the run validated on"):
        opened(photos, data_changed=True)


def test_equal_contents_are_one_photograph(photos, opened, tmp_path):
    for number in range(6):
        shutil.copy(photos / f"{number}.png", photos / f"{number}-copy.png")
    training, held_out = names(opened(photos))
    assert (len(training), len(held_out)) == (5, 1)
    assert not {name[0] for name in training} & {name[0] for name in held_out}
    for number in range(6):
        (photos / f"{number}-copy.png").unlink()
    assert {name[0] for name in names(opened(photos))[0]} == {name[0] for name in training}


def test_a_copy_of_what_is_held_out_is_not_trained_on(photos, opened, tmp_path):
    validation = tmp_path / "validation"
    validation.mkdir()
    shutil.copy(photos / "3.png", validation / "other-name.png")
    assert names(opened(photos, val_data=[validation])) == (
        ["0.png", "1.png", "2.png", "4.png", "5.png"],
        ["other-name.png"],
    )


def test_without_a_result_a_folder_takes_other_photographs(photos, opened):
    opened(photos, started=False)
    save(photos / "0.png", 9)
    opened(photos, started=False)
    assert names(opened(photos)) == FIRST


def test_a_damaged_list_is_one_line(photos, opened, tmp_path):
    opened(photos)
    for text in ("{", "[]", '{"training": 3}', '{"training": [{}], "validation": []}'):
        (tmp_path / "run" / "data.json").write_text(text)
        with pytest.raises(InputError, match=r"data.json: cannot be read"):
            opened(photos)


# === In memory or not: decided once ===


def test_whether_they_are_kept_in_memory_is_decided_once(photos, opened, tmp_path, monkeypatch):
    size = 5 * 60 * 70 * 3
    for limit, cached in ((8 * size, True), (8 * size - 1, False)):
        monkeypatch.setattr(opening, "memory_limit", lambda limit=limit: limit)
        assert opened(photos).cached is cached
        monkeypatch.setattr(opening, "memory_limit", lambda limit=limit: 16 * size - limit)  # on another machine
        assert opened(photos).cached is cached
        shutil.rmtree(tmp_path / "run")


def test_a_worker_with_other_memory_does_as_the_chief(photos, opened, tmp_path, monkeypatch):
    for cached in (True, False):
        monkeypatch.setattr(opening, "memory_limit", lambda cached=cached: 10**9 * cached)
        opened(photos)
        monkeypatch.setattr(opening, "memory_limit", lambda cached=cached: 10**9 * (not cached))
        config = TrainConfig(task="denoise", data=(str(photos),), model="rnan_lite", patch_size=16).resolved(False)
        data = opening.follow(RunFolder(tmp_path / "run"), config, tf.distribute.get_strategy(), None, False)
        assert data.cached is cached
        shutil.rmtree(tmp_path / "run")


def test_photographs_too_small_to_validate_on_are_named(photos, opened, capsys):
    Image.fromarray(CAT[:10, :70]).save(photos / "0.png")
    assert names(opened(photos))[1] == ["1.png"]
    tiny = photos.parent / "tiny"
    tiny.mkdir()
    shutil.move(photos / "0.png", tiny / "0.png")
    shutil.rmtree(photos.parent / "run")
    with pytest.raises(InputError, match="at least 11x11"):
        opened(photos, val_data=[tiny])
    assert "0.png is 70x10, smaller than 11x11" in capsys.readouterr().err


def test_a_run_of_version_0_1_stays_as_it_was(photos, opened, tmp_path, monkeypatch):
    shutil.copy(photos / "0.png", photos / "6.png")  # each file was a photograph
    shutil.copy(photos / "1.png", photos / "7.png")
    monkeypatch.setattr(opening, "memory_limit", lambda: 0)  # and what a container has did not count
    opened(photos, started=False)
    (tmp_path / "run" / "data.json").unlink()
    (tmp_path / "run" / "best.keras").touch()
    for _ in range(2):
        data = opened(photos)
        assert names(data) == ([*FIRST[0], "6.png", "7.png"], ["0.png"])
        assert data.cached
    assert read_split(tmp_path / "run").cached
    assert names(opened(photos, data_changed=True)) == FIRST  # with leave, from now on by contents


def test_its_photographs_are_compared_by_their_names_only_until_they_are_kept(photos, opened, tmp_path):
    opened(photos)
    (tmp_path / "run" / "data.json").unlink()
    shutil.copytree(photos, tmp_path / "moved")
    with pytest.raises(InputError, match=r"data .* there"):
        opened(tmp_path / "moved")
    opened(photos)
    opened(tmp_path / "moved")


def test_the_memory_of_a_container_counts(tmp_path):
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/a/b\n")
    (root / "a" / "b").mkdir(parents=True)
    assert min(memory._cgroup_limits(root, own)) > 2**60
    (root / "a" / "b" / "memory.max").write_text("max\n")
    (root / "a" / "memory.max").write_text("2000\n")  # of the group around it
    assert min(memory._cgroup_limits(root, own)) == 2000
    (root / "a" / "b" / "memory.max").write_text("1000\n")
    assert min(memory._cgroup_limits(root, own)) == 1000
    own.write_text("4:cpu:/x\n3:memory,hugetlb:/host/path\n")  # version 1, with the host's path in a container
    (root / "memory").mkdir()
    (root / "memory" / "memory.limit_in_bytes").write_text("3000\n")
    assert min(memory._cgroup_limits(root, own)) == 3000
    assert min(memory._cgroup_limits(root, tmp_path / "absent")) > 2**60


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo")
def test_the_memory_of_the_machine():
    total = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) * 1024
    assert memory.physical_memory() == total
    assert 0 < memory.memory_limit() <= total
