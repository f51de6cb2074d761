"""What a run ends with, for comparisons to the bit."""

import hashlib
import io
import json
import zipfile

import h5py


def datasets(file) -> dict[str, str]:
    """Return the sha256 of each array in an HDF5 file, and of all of them."""
    arrays = {}
    with h5py.File(file) as content:
        content.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        hashes = {name: hashlib.sha256(item[()].tobytes()).hexdigest() for name, item in sorted(arrays.items())}
    return {**hashes, "all": hashlib.sha256(json.dumps(hashes).encode()).hexdigest()}


def final_state(run_dir, steps: int) -> dict:
    """Return hashes of all that a run ends with, and its progress."""
    checkpoint = run_dir / "checkpoints" / f"step-{steps:09d}"
    state = {"checkpoint": datasets(checkpoint / "model.weights.h5")}
    assert sum("optimizer" in name for name in state["checkpoint"]) > 100  # moments and averages are among them
    for name in ("best.keras", "last.keras"):
        with zipfile.ZipFile(run_dir / name) as archive:
            state[name] = datasets(io.BytesIO(archive.read("model.weights.h5")))
    return {**state, "progress": json.loads((checkpoint / "progress.json").read_text())}
