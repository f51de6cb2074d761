"""Write files so that readers see the old one or the whole new one, and nothing is left behind by a failure."""

import contextlib
import math
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from rnan_tf.errors import InputError, JobError

_PREFIX = ".rnan-tf-"  # of temporary names
# Weights hardly shrink when they are compressed; text does, but there is little of it.
_INFLATION, _SMALL = 10, 2**20


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there becomes `path` at the end of the block.

    Args:
        path: a file, whose permissions are kept, or a folder that does not exist yet; its parent must exist. What a
            symbolic link points to is replaced, not the link.

    Yields:
        The temporary name, with the extension of `path`.

    Raises:
        JobError: the disk is full, the folder is missing or closed to us, or `path` is a device. The block's other
            exceptions pass through.
    """
    real = Path(os.path.realpath(path))
    temporary = real.with_name(f"{_PREFIX}{secrets.token_hex(8)}-{real.stem[:32]}{real.suffix}")
    try:
        if real.exists() and not (real.is_file() or real.is_dir()):
            raise OSError("it is a device or a pipe")  # which the new file would take the place of
        yield temporary
        for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _sync(file)
        if real.is_file() and temporary.is_file():
            shutil.copymode(real, temporary)
        os.replace(temporary, real)
        _sync(real.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise JobError(
            f"{path}: cannot be written ({reason}); name a place in a writable folder with space left"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


def is_leftover(name: str) -> bool:
    """Return whether a file's or folder's name is one of the temporary names of `replacing`."""
    return re.fullmatch(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}-.+", name) is not None


def remove_leftovers(folder: str | os.PathLike[str], older_than: float = -math.inf) -> None:
    """Remove the temporary files and folders that killed processes left in a folder. What cannot be removed stays.

    Args:
        folder: the folder. No other process may be writing there, but for such as take less than `older_than`.
        older_than: seconds since they were written to; younger ones stay.
    """
    for path in Path(folder).glob(f"{_PREFIX}*"):
        if is_leftover(path.name):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than:
                    _remove(path)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a small file.

    Raises:
        JobError: see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_inflation(archive: zipfile.ZipFile) -> None:
    """Check before a zip file is read that it does not become far more than it is.

    Args:
        archive: the file, of weights.

    Raises:
        InputError: it does.
    """
    members = archive.infolist()
    inflated, stored = (sum(getattr(m, size) for m in members) for size in ("file_size", "compress_size"))
    if inflated > _INFLATION * stored + _SMALL:
        raise InputError(f"{stored:,} bytes that would inflate to {inflated:,}, which weights do not")


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder if need be, and check before a long computation that files can be written there.

    Raises:
        JobError: they cannot.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise JobError(f"{path}: the folder cannot be made ({error.strerror}); name another place") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise JobError(f"{path}: no permission to write into this folder; name another place")


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _sync(path: Path) -> None:
    # Some file systems, and Windows, cannot sync a folder.
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
