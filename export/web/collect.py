"""Put networks, their list and samples beside the built page: `python export/web/collect.py --output PAGE`.

Writes PAGE/networks/ (the presets' int8 networks), PAGE/samples/ (spoilt photographs of scikit-image's) and
PAGE/networks.json, which lists both; with --float16 also the networks for WebGPU and networks/float16.json, their list,
which a wheel leaves out together with them.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # runs where only the dependencies are installed

import numpy as np
from PIL import Image

from rnan_tf.errors import JobError, command
from rnan_tf.files import make_folder, write_atomically
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import fast_path, list_presets, preset_path

# Of scikit-image's photographs, which need no download: title -> (file, (top, left, height, width), whose it is).
SAMPLES = {
    "noisy": ("chelsea.png", (0, 0, 300, 451), "Chelsea (Stéfan van der Walt, CC0)"),
    "blocky": ("coffee.png", (0, 0, 400, 600), "Coffee (Rachel Michetti, CC0)"),
    "small": ("astronaut.png", (0, 100, 256, 256), "Eileen Collins (NASA, public domain)"),
}


@command
def main(argv: list[str] | None = None) -> int:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--output", required=True, type=Path, metavar="PAGE", help="the folder that vite has built")
    parser.add_argument(
        "--float16", type=Path, metavar="DIR", help="folder that keeps exported float16 networks; missing ones are made"
    )
    args = parser.parse_args(argv)
    for name in ("networks", "samples"):
        make_folder(args.output / name)
    cards = {name: Restorer.from_preset(name, fast=True).card for name in list_presets()}
    networks = {}
    for name, card in cards.items():
        networks[name] = {"card": _told(card), "int8": _copy(fast_path(name), args.output)}
    samples = [_sample(title, args.output) for title in SAMPLES]
    _write(args.output / "networks.json", {"networks": networks, "samples": samples})
    if args.float16:
        files = {name: _copy(_exported(name, card, args.float16), args.output) for name, card in cards.items()}
        _write(args.output / "networks/float16.json", files)
    return 0


def _write(path: Path, data: dict) -> None:
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())


def _told(card: ModelCard) -> dict:
    """Return what the page needs to know of a network."""
    task = get_task(card.task)
    told = {key: value for key, value in asdict(card).items() if key != "details"}
    return {**told, "mosaic": task.mosaic, "of_luma": task.of_luma}


def _copy(source: Path, page: Path) -> dict:
    name = f"networks/{source.name}"
    shutil.copyfile(source, page / name)
    content = source.read_bytes()
    return {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _exported(preset: str, card: ModelCard, folder: Path) -> Path:
    """Return a preset's float16 file, for the tiles of its int8 network."""
    weights = preset_path(preset)
    kept = folder / f"{preset}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"  # not that of older weights
    file = kept / f"{preset}-fp16.tflite"
    if not file.is_file():
        print(f"exporting {preset} in float16", flush=True)
        make_folder(kept)
        command = [sys.executable, ROOT / "export/export_tflite.py", "--model", weights, "--output", kept]
        sizes = ["--variants", "fp16", "--tile", str(card.tile), "--overlap", str(card.overlap)]
        done = subprocess.run([*command, *sizes], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise JobError(f"{preset}: cannot be exported in float16 ({done.stderr.strip().splitlines()[-1]})")
    return file


def _sample(title: str, page: Path) -> dict:
    """Spoil a sample as its title says, and return its entry in networks.json."""
    photograph, (top, left, height, width), credit = SAMPLES[title]
    (path,) = sample_photographs(photograph)
    image = Image.open(path).convert("RGB").crop((left, top, left + width, top + height))
    name = f"samples/{title}.{'jpg' if title == 'blocky' else 'png'}"
    if title == "noisy":
        noise = np.random.default_rng(0).normal(0, 25, (height, width, 3))
        image = Image.fromarray(np.rint(np.clip(np.asarray(image) + noise, 0, 255)).astype(np.uint8))
    elif title == "small":
        image = image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    image.save(page / name, quality=12)  # of the JPEG
    return {"title": title, "file": name, "credit": credit}


if __name__ == "__main__":
    sys.exit(main())
