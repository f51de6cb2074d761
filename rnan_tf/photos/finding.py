"""Find photographs: files, folders with all that is below them, and glob patterns."""

import glob
import os
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from rnan_tf.errors import ImageError
from rnan_tf.photos.photo import READABLE

RAW_EXTENSIONS = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".pef", ".raf", ".srw", ".nrw")


def list_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Expand files, folders and glob patterns to image files, in the order given, each file once.

    Args:
        paths: files (taken as they are), folders (their images by extension, sorted, subfolders left out) and patterns
            such as "photos/*.jpg" that the shell did not expand (sorted, images by extension).

    Raises:
        ImageError: a path does not exist, or a folder or pattern gives no image.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = (_expand(os.fspath(path), READABLE, recursive=False) for path in paths)
    return list(dict.fromkeys(Path(image) for images in found for image, _ in images))


def find_photographs(
    paths: Iterable[str | os.PathLike[str]], leave_out: str | os.PathLike[str] | None = None
) -> list[tuple[str, str]]:
    """Expand files, folders and glob patterns to photographs, camera raw files among them.

    Args:
        paths: as for `list_images`, but folders with all folders below them. Symbolic links to folders are followed,
            and each folder is read once.
        leave_out: a folder that is not read, such as that of the results.

    Returns:
        (file, its place below the folder that was named, or its name) pairs, each file once, in the order given.

    Raises:
        ImageError: a path does not exist, or a folder or pattern gives no photograph.
    """
    found: dict[str, str] = {}
    for path in paths:
        for file, place in _expand(os.fspath(path), (*READABLE, *RAW_EXTENSIONS), True, leave_out):
            found.setdefault(os.path.normpath(file), place)
    return list(found.items())


def _expand(
    path: str, extensions: tuple[str, ...], recursive: bool, leave_out: str | os.PathLike[str] | None = None
) -> list[tuple[str, str]]:
    try:
        if os.path.isdir(path):
            skip = {_identity(leave_out)} if leave_out and os.path.isdir(leave_out) else set()
            skip -= {_identity(path)}  # results beside their photographs
            found = list(_below(path, "", extensions, recursive, skip))
        elif os.path.exists(path):
            return [(path, os.path.basename(path))]
        elif any(character in path for character in "*?["):
            files = sorted(Path(file) for file in glob.glob(path, recursive=True))
            found = [(str(file), file.name) for file in files if _is_image(file.name, extensions) and file.is_file()]
        else:
            raise ImageError(f"{path}: no such file or folder; check the path")
    except OSError as error:
        raise ImageError(f"{path}: cannot be listed ({error.strerror}); check its permissions") from error
    if not found:
        raise ImageError(f"{path}: no image found; name files or a folder with {' '.join(extensions)} files")
    return found


def _below(
    folder: str, place: str, extensions: tuple[str, ...], recursive: bool, seen: set[tuple[int, int]]
) -> Iterator[tuple[str, str]]:
    """Yield the images of a folder, then those of each folder below it that is not among `seen`."""
    if recursive:
        if (identity := _identity(folder)) in seen:
            return
        seen.add(identity)
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    # macOS leaves "._photo.jpg" on USB sticks.
    visible = [entry for entry in ordered if not entry.name.startswith(".")]
    for entry in visible:
        if _is_image(entry.name, extensions) and _holds(entry.is_file):
            yield entry.path, os.path.join(place, entry.name)
    for entry in visible if recursive else ():
        if _holds(entry.is_dir):
            try:
                yield from _below(entry.path, os.path.join(place, entry.name), extensions, True, seen)
            except PermissionError as error:
                raise ImageError(f"{entry.path}: cannot be listed ({error.strerror}); check its permissions") from None


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that points to itself
        return False


def _is_image(name: str, extensions: Container[str]) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
