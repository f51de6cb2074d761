"""What is fuzzed, in a process that may die of it: `python -m tests.fuzz.child TARGET FOLDER` answers on stdin's files.

For each line, a file's name, it prints a line of JSON: `outcome` ("result", "error" with its `text`, or "traceback"),
`seconds` of processor time, and `megabytes` of memory at most. Its first line is "ready".
"""

import contextlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import psutil

from rnan_tf.errors import InputError, JobError
from rnan_tf.quiet import import_tensorflow


def read_image(path: Path) -> None:
    from rnan_tf.photos.photo import read_photo

    read_photo(path)


def restore(path: Path) -> None:
    import numpy as np

    from rnan_tf.restoring.restorer import Restorer

    Restorer.from_preset(path)(np.full((9, 13, 3), 99, np.uint8))


def convert(path: Path) -> None:
    from rnan_tf.network.reference_checkpoints import load_reference

    load_reference(path)


def read_run(path: Path) -> None:
    from rnan_tf.training.config import read_config

    read_config(path).resolved(False)


def read_card(path: Path) -> None:
    from rnan_tf.cli.info import _card_lines
    from rnan_tf.restoring.card import ModelCard

    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise InputError("no JSON") from error
    _card_lines(ModelCard.from_dict(data))


def join_cluster(path: Path) -> None:
    from rnan_tf.training import open_ports, strategy

    open_ports.reachable_addresses = lambda: ["192.0.2.1"]  # which is refused, once all else is right
    os.environ["TF_CONFIG"] = path.read_text(errors="replace").replace("\0", "")
    strategy.make_strategy(strategy.Placement(), 4)


TARGETS = {
    "image": read_image,
    "keras": restore,
    "tflite": restore,
    "onnx": restore,
    "npz": convert,
    "config": read_run,
    "card": read_card,
    "tf_config": join_cluster,
}


def peak_megabytes() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run(target: str, path: Path) -> dict[str, object]:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    before, start = psutil.Process().memory_info().rss / 2**20, time.process_time()
    answer: dict[str, object] = {"outcome": "result"}
    try:
        TARGETS[target](path)
    except (InputError, JobError) as error:
        answer = {"outcome": "error", "text": str(error)}
    except Exception:
        answer = {"outcome": "traceback", "text": traceback.format_exc()}
    return {**answer, "seconds": time.process_time() - start, "megabytes": peak_megabytes() - before}


if __name__ == "__main__":
    import_tensorflow()
    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(sys.argv[1], Path(line.rstrip("\n")))), file=answers, flush=True)
