"""The trained networks that come with the package, each with the command that made it (manifest.json)."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from rnan_tf.errors import InputError, JobError
from rnan_tf.files import check_inflation, write_atomically

FOLDER = Path(__file__).parent
_LARGEST_CONFIG = 2**20  # bytes of a network's config.json; those of this package have a thousand


def read_manifest() -> dict[str, dict[str, Any]]:
    """Return what is known about the bundled networks: name -> file, sha256, run, commands, data, PSNR, ..."""
    path = FOLDER / "manifest.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write_manifest(manifest: dict[str, dict[str, Any]]) -> None:
    """Write what is known about the bundled networks.

    Args:
        manifest: see `read_manifest`.

    Raises:
        JobError: it cannot be written.
    """
    write_atomically(FOLDER / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def preset_path(name: str) -> Path | None:
    """Return the `.keras` file of a bundled network.

    Args:
        name: as in the manifest.

    Returns:
        The file, whose sha256 is the manifest's; None if no network is called that.

    Raises:
        JobError: the file is missing or damaged.
    """
    entry = read_manifest().get(name)
    return None if entry is None else _checked(entry)


def fast_path(name: str) -> Path:
    """Return the `.tflite` file of a preset's int8 network.

    Args:
        name: of the preset.

    Raises:
        InputError: there is none.
        JobError: the file is missing or damaged.
    """
    fast = {preset: entry["fast"] for preset, entry in read_manifest().items() if "fast" in entry}
    if name not in fast:
        raise InputError(f"{name}: has no fast network; these presets have: {', '.join(fast)}; leave `fast` out")
    return _checked(fast[name])


def _checked(entry: dict[str, Any]) -> Path:
    path = FOLDER / str(entry["file"])
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise JobError(f"{path}: the bundled network is missing or damaged; install rnan-tf again")
    return path


def score_key(test_set: str, strength: float, self_ensemble: bool = False) -> str:
    """Return the name under which an entry's "test" holds the scores on a test set.

    Args:
        test_set: its folder's name.
        strength: in the user's unit; 0 for a task without.
        self_ensemble: whether they are those of the self-ensemble.
    """
    return f"{test_set}{f' {strength:g}' if strength else ''}{' self-ensemble' if self_ensemble else ''}"


def list_presets() -> list[str]:
    """Return the names of the trained networks that come with the package."""
    return list(read_manifest())


def find_model(source: str | Path) -> Path:
    """Return the file of a model.

    Args:
        source: a `.keras` file, the folder of a training run, whose `best.keras` is taken, or the name of a preset; a
            file or folder of that name comes first.

    Raises:
        InputError: there is no such model.
        JobError: a preset is damaged.
    """
    path = Path(source)
    if not path.exists() and (bundled := preset_path(str(source))):
        return bundled
    if path.is_dir():
        path = path / "best.keras"
        if not path.is_file():
            raise InputError(f"{source}: no best.keras in this folder, nor a SavedModel; is it that of a training run?")
    if not path.is_file():
        raise InputError(
            f"{source}: no such model; give a .keras file, the folder of a training run, or a preset: "
            f"{', '.join(list_presets()) or 'none in this version'}"
        )
    if path.suffix != ".keras":
        raise InputError(f"{source}: not a .keras file; PyTorch checkpoints go through `rnan-tf convert` first")
    return path


def read_config(path: Path) -> dict[str, Any]:
    """Return what a `.keras` file says of its network: `class_name`, `config` and more; its weights are not read.

    Args:
        path: the file.

    Raises:
        InputError: it would inflate to far more than it is.
        OSError, ValueError, KeyError, zipfile.BadZipFile and what zip files raise: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        check_inflation(archive)
        if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
            raise InputError(f"its config.json has more than {_LARGEST_CONFIG:,} bytes")
        config = json.loads(archive.read("config.json"))
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise InputError("its config.json does not describe a network")
    return config
