"""Which photographs are restored, and where each goes."""

import os
import sys
import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rnan_tf.errors import InputError
from rnan_tf.photos.finding import RAW_EXTENSIONS, find_photographs
from rnan_tf.photos.photo import EXTENSIONS, READABLE

STREAM = "-"  # standard input or output


class Job(NamedTuple):
    """A photograph to restore.

    Attributes:
        source: its file, or `STREAM`.
        target: the file to write, or `STREAM`.
    """

    source: str
    target: str


def plan(photos: list[str], output: str, extension: str | None = None) -> list[Job]:
    """Find photographs and a place for the result of each; nothing is ever written over an input.

    Args:
        photos: files, folders or globs, or `STREAM` alone.
        output: a file for one photograph, else a folder, or `STREAM`.
        extension: of the results, such as ".png"; None for that of each photograph.

    Returns:
        The jobs. The folders below one that was named are mirrored. Where two results would be of one name, all lie as
        their photographs do below the folder that they share; those whose names differ by case or extension alone get a
        number.

    Raises:
        InputError: there is no photograph, or no place for the result of one.
    """
    if STREAM in photos and len(photos) > 1:
        raise InputError(f"{STREAM} is standard input, one photograph; restore the others by themselves")
    found = [(STREAM, STREAM)] if photos == [STREAM] else find_photographs(photos, leave_out=output)
    to_folder = output != STREAM and _is_folder(output, several=len(found) > 1)
    if len(found) > 1 and not to_folder:
        raise InputError(f"-o {output} is one file, but there are {len(found)} photographs; name a folder")
    if photos == [STREAM] and to_folder:
        raise InputError(f"-o {output} is a folder; name a file, or {STREAM}, for the photograph of standard input")
    sources = [file for file, _ in found]
    targets = [os.path.join(output, place) for place in _places(found, extension)] if to_folder else [output]
    if not to_folder and output != STREAM:
        _check_extension(output, extension)
    keep_inputs(*([path for path in paths if path != STREAM] for paths in (targets, sources)))
    return [Job(*pair) for pair in zip(sources, targets, strict=True)]


def _is_folder(output: str, several: bool) -> bool:
    path = Path(output)
    is_image = path.suffix.lower() in EXTENSIONS and not path.is_dir()
    if is_image or several or path.is_dir() or not path.suffix or output.endswith(os.sep):
        return not is_image
    raise InputError(
        f"-o {output} is neither a folder nor an image's name; end it in {os.sep} or in one of {' '.join(EXTENSIONS)}"
    )


def _check_extension(output: str, extension: str | None) -> None:
    if extension and EXTENSIONS[Path(output).suffix.lower()] != EXTENSIONS[extension]:
        raise InputError(f"-o {output} is no {extension} file; leave `format` out, or name a folder")


def _places(found: list[tuple[str, str]], extension: str | None) -> list[str]:
    places = [_with_extension(place, extension) for _, place in found]
    if len(set(map(_folded, places))) < len(places):
        files = [os.path.abspath(file) for file, _ in found]
        shared = os.path.commonpath([os.path.dirname(file) for file in files])
        places = [_with_extension(os.path.relpath(file, shared), extension) for file in files]
    return _numbered(places)


def _with_extension(place: str, extension: str | None) -> str:
    """Return a result's name: of the asked kind, or of its photograph's where files of that kind can be written."""
    stem, own = os.path.splitext(place)
    if extension is None and own.lower() in RAW_EXTENSIONS:
        extension = ".tif"  # of 16 bits
    elif extension is None and own.lower() in READABLE and own.lower() not in EXTENSIONS:
        extension = ".png"
    same = extension is None or EXTENSIONS.get(own.lower()) == EXTENSIONS[extension]
    return place if same else f"{stem}{extension}"


def _folded(place: str) -> str:
    """Return what equal names have in common on disks that ignore case, or normalise Unicode."""
    return unicodedata.normalize("NFC", place).casefold()


def _numbered(places: list[str]) -> list[str]:
    taken, seen, numbered = set(map(_folded, places)), set(), []
    for place in places:
        unique, number = place, 2
        if _folded(place) in seen:
            while _folded(unique) in taken:
                stem, extension = os.path.splitext(place)
                unique, number = f"{stem}-{number}{extension}", number + 1
            taken.add(_folded(unique))
        seen.add(_folded(place))
        numbered.append(unique)
    return numbered


def keep_inputs(outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that no output is one of the inputs.

    Raises:
        InputError: one is.
    """
    existing = [output for output in outputs if os.path.exists(output)]
    if not existing:
        return
    read = {(status.st_dev, status.st_ino) for status in (os.stat(path) for path in inputs if os.path.exists(path))}
    for output in existing:
        status = os.stat(output)
        if (status.st_dev, status.st_ino) in read:
            raise InputError(f"{output} is an input and would be written over; name another place")


def model_files(model: str | None) -> list[Path]:
    """Return the files of a network that was asked for: a file, all that are below a folder, or none of None."""
    if model is None:
        return []
    path = Path(model)
    return list(path.rglob("*")) if path.is_dir() else [path]


def check_report(report: str, jobs: list[Job], model: str | None) -> None:
    """Check that a report is a file, and no photograph, result or part of the model.

    Raises:
        InputError: it is not.
    """
    if report == STREAM:
        raise InputError(f"`report` {STREAM} is no file's name; name one, such as report.csv")
    keep_inputs([report], [*(job.source for job in jobs if job.source != STREAM), *model_files(model)])
    if os.path.realpath(report) in {os.path.realpath(job.target) for job in jobs if job.target != STREAM}:
        raise InputError(f"`report` {report} is where a result goes; name another file")


def in_shard(jobs: list[Job], output: str, number: int, count: int) -> list[Job]:
    """Return the jobs of one of several equal commands: each job is in exactly one, whatever else is in the folder.

    Args:
        jobs: all of them.
        output: their folder.
        number: of the command, from 1.
        count: of the commands.
    """
    names = (os.fsencode(os.path.relpath(job.target, output)) for job in jobs)
    return [job for job, name in zip(jobs, names, strict=True) if zlib.crc32(name) % count == number - 1]


def read_stream() -> bytes:
    """Return what standard input holds.

    Raises:
        InputError: it is a terminal.
    """
    if sys.stdin.isatty():
        raise InputError(f"{STREAM} is standard input, which is a terminal; pipe a photograph into it")
    return sys.stdin.buffer.read()
