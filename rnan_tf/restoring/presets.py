"""The trained networks that come with the package, each with the command that made it (`weights/manifest.json`)."""

import hashlib
import json
from pathlib import Path

from rnan_tf.errors import InputError, JobError
from rnan_tf.files import write_atomically
from rnan_tf.tasks.task import Task

FOLDER = Path(__file__).parents[1] / "weights"


def read_manifest() -> dict[str, dict]:
    """Return what is known about the bundled networks: name -> file, sha256, task, level, commands, data, PSNR, ..."""
    path = FOLDER / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_manifest(manifest: dict[str, dict]) -> None:
    """Write what is known about the bundled networks.

    Args:
        manifest: see `read_manifest`.

    Raises:
        JobError: it cannot be written.
    """
    write_atomically(FOLDER / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def bundled_path(name: str) -> Path | None:
    """Return the `.keras` file of a bundled network.

    Args:
        name: as in the manifest.

    Returns:
        The file, whose sha256 is the manifest's; None if no network is called that.

    Raises:
        JobError: the file is missing or damaged.
    """
    entry = read_manifest().get(name)
    if entry is None:
        return None
    path = FOLDER / entry["file"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise JobError(f"{path}: the bundled network is missing or damaged; install rnan-tf again")
    return path


def list_presets() -> list[str]:
    """Return the names of the trained networks that come with the package."""
    return list(read_manifest())


def preset_of(task: str) -> str:
    """Return the name of the preset for a task.

    Args:
        task: such as "denoise" or "sr-x4".

    Raises:
        InputError: there is none.
    """
    if task not in list_presets():
        raise InputError(f"no network called {task} is bundled ({', '.join(list_presets()) or 'none at all'})")
    return task


def bundled_name(task: Task, level: float) -> str:
    """Return the name of the bundled network for a task.

    Args:
        task: the task.
        level: for `sr` the scale; the other tasks have one network for all levels.

    Raises:
        InputError: there is none.
    """
    name = f"sr-x{task.scale(level)}" if task.name == "sr" else task.name
    names = read_manifest()
    if name not in names:
        raise InputError(f"no network called {name} is bundled ({', '.join(names) or 'none at all'}); give --model")
    return name
