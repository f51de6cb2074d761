"""rnan_tf.files: whole files or none."""

import errno
import os
import resource
import signal
import stat
import time

import pytest

from rnan_tf.errors import JobError
from rnan_tf.files import make_folder, remove_leftovers, replacing, write_atomically


@pytest.fixture
def largest_file():
    """Make writes beyond a size fail as on a full disk (EFBIG instead of ENOSPC)."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in (".gitignore", ".cache-0123456789abcdef.json", ".rnan-tf-notes")]
    for path in kept:
        path.write_bytes(b"")
    process = os.fork()
    if not process:
        with replacing(tmp_path / "step-000000001") as folder, replacing(tmp_path / "a.json") as file:
            folder.mkdir()
            (folder / "half").write_bytes(b"")
            file.write_bytes(b"")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)
    assert len(list(tmp_path.iterdir())) == len(kept) + 2
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_young_leftovers_stay_where_others_may_be_writing(tmp_path):
    young, old = (tmp_path / f".rnan-tf-{number}123456789abcdef-a.png" for number in "01")
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 100,) * 2)
    remove_leftovers(tmp_path, older_than=50)
    assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize("old", [None, b"old"])
def test_write_atomically_writes_the_whole_file(tmp_path, old):
    if old:
        (tmp_path / "a.json").write_bytes(old)
    write_atomically(tmp_path / "a.json", b"new")
    assert contents(tmp_path) == {"a.json": b"new"}


def test_temporary_name_has_the_extension_and_a_length_that_fits(tmp_path):
    path = tmp_path / f"{'ü' * 120}.keras"
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".keras" and temporary != path
        temporary.write_bytes(b"x")
    assert list(contents(tmp_path)) == [path.name]


@pytest.mark.parametrize("error", [ValueError("not ours"), KeyboardInterrupt()])
def test_other_exceptions_pass_and_leave_the_old_file(tmp_path, error):
    (tmp_path / "a.json").write_bytes(b"old")
    with pytest.raises(type(error)), replacing(tmp_path / "a.json") as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert contents(tmp_path) == {"a.json": b"old"}


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, largest_file):
    (tmp_path / "a.bin").write_bytes(b"old")
    largest_file(10_000)
    with pytest.raises(JobError, match=r"a\.bin: cannot be written \(File too large\); .* space left"):
        write_atomically(tmp_path / "a.bin", bytes(100_000))
    assert contents(tmp_path) == {"a.bin": b"old"}


def test_data_that_does_not_reach_the_disk_is_an_error(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(JobError, match="No space left on device"):
        write_atomically(tmp_path / "a.bin", b"new")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def picky(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    write_atomically(tmp_path / "a.bin", b"new")
    assert contents(tmp_path) == {"a.bin": b"new"}
    with replacing(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "a").write_bytes(b"new")
    assert (tmp_path / "folder" / "inner" / "a").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_an_existing_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


@pytest.mark.parametrize("path", ["missing/a.json", "file/a.json", "folder"])
def test_impossible_places_are_named(tmp_path, path):
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(b"kept")
    with pytest.raises(JobError, match=f"{path}: cannot be written"):
        write_atomically(tmp_path / path, b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"kept" and contents(tmp_path / "folder") == {"b": b"kept"}


def test_a_closed_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.geteuid():
        with pytest.raises(JobError, match="Permission denied"):
            write_atomically(tmp_path / "closed" / "a", b"new")
        return
    os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(JobError, match=r"a: cannot be written \(Permission denied\)"):
            write_atomically(tmp_path / "closed" / "a", b"new")
    finally:
        os.seteuid(0)
    assert contents(tmp_path / "closed") == {}


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JobError, match="pipe"):
        write_atomically(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").write_bytes(b"old")
    (tmp_path / "a").symlink_to("store/a")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").is_symlink() and contents(tmp_path / "store") == {"a": b"new"}


def test_folders_appear_whole_or_not_at_all(tmp_path):
    with replacing(tmp_path / "checkpoint") as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "a").write_bytes(b"x")
    assert (tmp_path / "checkpoint" / "inner" / "a").read_bytes() == b"x"
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "other") as temporary:
        temporary.mkdir()
        (temporary / "a").write_bytes(b"x")
        raise ValueError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_make_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in ("file", "file/folder"):
        with pytest.raises(JobError, match=f"{path}: the folder cannot be made"):
            make_folder(tmp_path / path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0)
    with pytest.raises(JobError, match="no permission to write"):
        make_folder(tmp_path)
