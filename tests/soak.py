"""Kill a training and a restoration again and again; what is left must be whole: `python tests/soak.py --kills 200`.

The training is killed at random moments until it ends by itself, over and over; each end must have the bits of a
training that nobody killed. The restoration of a folder likewise: every file of its output is whole or absent.
"""

import argparse
import hashlib
import itertools
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import h5py
import skimage.data
from PIL import Image

from rnan_tf.files import is_leftover

STEPS = 30


def photographs(folder: Path, count: int, side: int) -> None:
    """Write pieces of real photographs."""
    folder.mkdir()
    sources = skimage.data.astronaut(), skimage.data.coffee()
    for number in range(count):
        piece = sources[number % 2][10 * number :][:side, 60 : 60 + side]
        Image.fromarray(piece).save(folder / f"{number}.png")


def train(work: Path, name: str) -> list[str]:
    """Return the command of a short training."""
    options = ["--steps", STEPS, "--batch-size", 4, "--patch-size", 16, "--validate-every", 3]
    files = ["--recipe", ROOT / "tests/helpers/tiny.json", "--data", work / "photos", "--run-dir", work / name]
    return [sys.executable, ROOT / "training/train.py", "--model", "rnan_lite", *options, *files]


def restore(work: Path, name: str) -> list[str]:
    """Return the command that restores the folder."""
    options = ["--task", "denoise", "--fast", "--sigma", 25]
    return [sys.executable, "-m", "rnan_tf.cli", "restore", work / "photos", "-o", work / name, *options]


def run(command: list, log: Path, seconds: float | None = None) -> int | None:
    """Run a command; return its exit code, or None once it was killed after so many seconds."""
    with open(log, "a") as file:
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None


def state(folder: Path) -> str:
    """Return the hash of all arrays and the progress of a run's last checkpoint, and of its networks' arrays."""
    checkpoint = folder / "checkpoints" / f"step-{STEPS:09d}"
    found = hashlib.sha256()

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            found.update(name.encode() + item[()].tobytes())

    with h5py.File(checkpoint / "model.weights.h5") as file:
        file.visititems(add)
    found.update((checkpoint / "progress.json").read_bytes())
    for name in ("best.keras", "last.keras"):  # whose zip files hold the time
        with zipfile.ZipFile(folder / name) as archive, h5py.File(archive.open("model.weights.h5")) as file:
            file.visititems(add)
    return found.hexdigest()


def soak_training(work: Path, kills: int, moments: random.Random) -> None:
    """Kill trainings; print how many and the hash that all ends have."""
    start = time.monotonic()
    assert run(train(work, "whole"), work / "log") == 0, (work / "log").read_text()
    whole, whole_seconds, killed = state(work / "whole"), time.monotonic() - start, 0
    for number in itertools.count():
        name = f"run{number}"
        while killed < kills:
            # Not while Python is importing, which writes nothing.
            code = run(train(work, name), work / "log", moments.uniform(0.4, 0.9) * whole_seconds)
            if code is not None:
                break
            killed += 1
        else:
            code = run(train(work, name), work / "log")
        assert code == 0, (work / "log").read_text()[-2000:]
        assert state(work / name) == whole, name
        print(f"training: {killed} kills, {number + 1} ends, all {whole[:16]}", flush=True)
        if killed >= kills:
            return


def soak_restoration(work: Path, kills: int, moments: random.Random) -> None:
    """Kill restorations of a folder; print how many, and what they left."""
    start = time.monotonic()
    assert run(restore(work, "restored"), work / "log") == 0, (work / "log").read_text()
    seconds = time.monotonic() - start
    whole = {path.name: path.read_bytes() for path in (work / "restored").iterdir()}
    left = leftovers = 0
    for number in range(kills):
        run(restore(work, f"restored{number}"), work / "log", moments.uniform(0.3, 1.1) * seconds)
        for path in (work / f"restored{number}").glob("*"):
            if is_leftover(path.name):
                leftovers += 1
                continue
            assert path.read_bytes() == whole[path.name], path
            left += 1
        if number % 10 == 9 or number + 1 == kills:
            print(f"restore: {number + 1} kills, {left} files whole, {leftovers} leftovers named so", flush=True)


def main() -> None:
    """Soak both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of each (%(default)s)")
    parser.add_argument("--only", choices=("training", "restore"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, moments = Path(folder), random.Random(0)
        photographs(work / "photos", 12, 160)
        if args.only != "restore":
            soak_training(work, args.kills, moments)
        if args.only != "training":
            soak_restoration(work, args.kills, moments)


if __name__ == "__main__":
    main()
