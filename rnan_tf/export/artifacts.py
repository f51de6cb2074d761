"""The exports in a folder."""

from collections import Counter
from pathlib import Path

from rnan_tf.errors import InputError


def check_folder(folder: Path) -> None:
    """Check that a folder is new, or holds exports only.

    Args:
        folder: what exports are to be written into.

    Raises:
        InputError: it is a file or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give `output` a folder")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        is_ours = path.suffix in (".tflite", ".onnx", ".md") or path.name in ("report.json", "crops.png")
        if not is_ours and not path.name.startswith(".") and not any(path.glob("**/saved_model.pb")):
            raise InputError(f"{folder}: holds {path.name}, not only exports; give `output` another folder")


def find_artifacts(folder: Path) -> dict[str, Path]:
    """Find the exports in a folder: .tflite and .onnx files, and the newest version of each SavedModel.

    Args:
        folder: where they were written, at any depth.

    Returns:
        name -> file, or folder of a version. A name is the file's, or a SavedModel's with its version; of namesakes it
        is the path within the folder.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that the exports were written to")
    files = [path for suffix in (".tflite", ".onnx") for path in sorted(folder.rglob(f"[!.]*{suffix}"))]
    newest: dict[Path, Path] = {}
    for path in folder.rglob("saved_model.pb"):
        version = path.parent
        if version.name.isdecimal() and int(version.name) >= int(newest.get(version.parent, version).name):
            newest[version.parent] = version
    if not files and not newest:
        raise InputError(f"{folder}: no .tflite, no .onnx and no SavedModel in it; run the exports first")
    found = [*sorted(newest.values()), *files]
    counts = Counter(map(_short_name, found))
    return {
        _short_name(path) if counts[_short_name(path)] == 1 else str(path.relative_to(folder)): path for path in found
    }


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, 10**6 bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _short_name(path):
    return path.name if path.is_file() else f"{path.parent.name}/{path.name}"
