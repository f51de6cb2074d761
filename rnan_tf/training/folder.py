"""The folder of a run: which folders are one, who writes there, and what killed processes left behind."""

import contextlib
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rnan_tf.errors import InputError, JobError
from rnan_tf.files import is_leftover, make_folder, remove_leftovers
from rnan_tf.training.config import is_config

LOCK = "run.lock"
# What version 0.1 wrote through a temporary name of its own: in the folder, and in that of the checkpoints.
_WRITTEN = r"config|best|last|panel|curves|photographs"
_CHECKPOINT = r"step-\d{9}"


class RunFolder:
    """A run's folder, which one process at a time writes into.

    Args:
        path: the folder. It need not exist.

    Attributes:
        path: the same.
        checkpoints: the folder of its checkpoints.
        photographs: the folder of the photographs that are stored for a data service.
    """

    def __init__(self, path: Path):
        self.path, self.checkpoints, self.photographs = path, path / "checkpoints", path / "photographs"
        self._lock: IO[str] | None = None

    def check(self) -> None:
        """Check that the folder is that of a run, empty, or not there yet.

        Raises:
            InputError: it is something else.
            JobError: it cannot be looked into.
        """
        try:
            names = {entry.name for entry in os.scandir(self.path)}
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise JobError(f"{self.path}: the folder cannot be made ({error.strerror}); name another place") from error
        except OSError as error:
            raise JobError(f"{self.path}: cannot be looked into ({error.strerror}); name another place") from error
        foreign = sorted(name for name in names if name != LOCK and not _is_leftover(name, _WRITTEN))
        if foreign and not is_config(self.path / "config.json"):
            raise InputError(
                f"{self.path} holds other files ({', '.join(foreign[:3])}) and no run; give a new or an empty `run_dir`"
            )

    def is_started(self) -> bool:
        """Return whether a run has done anything here that is worth keeping.

        Raises:
            JobError: that cannot be told.
        """
        try:
            names = {entry.name for entry in os.scandir(self.checkpoints)} - {f"step-{0:09d}"}
        except FileNotFoundError:
            names = set()
        except OSError as error:
            raise JobError(f"{self.checkpoints}: cannot be looked into ({error.strerror})") from error
        return (self.path / "best.keras").exists() or any(re.fullmatch(f"(damaged-)?{_CHECKPOINT}", x) for x in names)

    def lock(self) -> None:
        """Make the folder, and keep other processes from writing into it until `release`, or this process' end.

        Raises:
            JobError: it cannot be made, or another process writes there.
        """
        make_folder(self.path)
        file = open(self.path / LOCK, "a")  # noqa: SIM115
        try:
            _lock(file)
        except OSError as error:
            file.close()
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
                raise JobError(
                    f"{self.path}: another process is training here; wait for its end, or give another `run_dir`"
                ) from error
            print(
                f"warning: {self.path} cannot be locked ({error.strerror}); start only one run there", file=sys.stderr
            )
            return
        self._lock = file

    def release(self) -> None:
        """Let other processes write here."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def tidy(self, started: bool) -> None:
        """Remove what killed processes left, and the checkpoint of the first weights of a run that is not started."""
        for folder in (self.path, self.checkpoints, self.photographs):
            remove_leftovers(folder)
        for folder, names in ((self.path, _WRITTEN), (self.checkpoints, _CHECKPOINT)):
            for path in _entries(folder):
                if _is_leftover(path.name, names):
                    _remove(path)
        for path in () if started else _entries(self.checkpoints):
            if re.fullmatch(_CHECKPOINT, path.name):
                _remove(path)


def _is_leftover(name, written):
    return is_leftover(name) or re.fullmatch(rf"\.({written})-[0-9a-f]{{16}}(\.\w+)?", name)


def _entries(folder) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from list(folder.iterdir())


def _remove(path):
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _lock(file):
    # The system lets go of it when the process ends, however it ends.
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
