"""Whatever a file holds, reading it gives a result or one line, within 2 GB and 30 seconds.

The inputs are the same every time: the first thousand of each target, or as many as a minute allows. `make fuzz` goes
on with others for FUZZ_SECONDS.
"""

import collections
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from rnan_tf.export import onnx as onnx_export
from rnan_tf.export.tflite import exporting
from rnan_tf.network.loading import save_model
from rnan_tf.photos.photo import write_photo
from rnan_tf.restoring.card import card_of
from rnan_tf.training.config import TrainConfig
from tests.conftest import ROOT
from tests.fuzz.child import TARGETS
from tests.fuzz.mutations import damaged, in_zip, wild_json
from tests.helpers.random_networks import LITE, random_model
from tests.helpers.reference import state_dict

pytestmark = pytest.mark.slow

SECONDS, ROUNDS = (float(os.environ["FUZZ_SECONDS"]), None) if "FUZZ_SECONDS" in os.environ else (60, 20)
MEGABYTES, TIME = 2048, 30
HUNG = 10 * TIME  # after so many seconds a process that others slow down is killed; TIME is of its processor
# LiteRT trusts a file's numbers: its process may die of a damaged one.
MAY_DIE = ("tflite",)
CRASHES = [f"died of signal {number:d}" for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)]


class Child:
    """A process that reads files; started again when it has died."""

    def __init__(self, target, folder):
        self.target, self.errors, self.process = target, folder / "stderr", None

    def start(self):
        """Return when it has imported TensorFlow, which may take minutes on a busy machine."""
        command = [sys.executable, "-m", "tests.fuzz.child", self.target]
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout.readline() == "ready\n", self.errors.read_text()

    def __call__(self, path):
        if self.process.poll() is not None:
            self.start()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        hung = threading.Timer(HUNG, self.process.kill)
        hung.start()
        answer = self.process.stdout.readline()
        hung.cancel()
        if answer:
            return json.loads(answer)
        return {"outcome": f"died of signal {-self.process.wait()}", "seconds": 0, "megabytes": 0}

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Target -> whole files: (extension, strategy of damaged ones)."""
    folder = tmp_path_factory.mktemp("whole")
    image = Image.fromarray(skimage.data.astronaut()[60:91, 200:237])
    images = []
    for name, options in (("png", {}), ("jpg", {}), ("tiff", {"compression": "tiff_lzw"}), ("webp", {}), ("bmp", {})):
        image.save(folder / f"image.{name}", **options)
        images.append((name, damaged((folder / f"image.{name}").read_bytes())))
    for name in ("png", "tif"):
        write_photo(folder / f"16.{name}", np.asarray(image, np.uint16) * 257)
        images.append((name, damaged((folder / f"16.{name}").read_bytes())))
    image.save(folder / "image.avif")
    images.append(("avif", damaged((folder / "image.avif").read_bytes())))
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.from_pillow(image).save(folder / "image.heic")
        images.append(("heic", damaged((folder / "image.heic").read_bytes())))
    keras.utils.set_random_seed(0)
    model = random_model("denoise", **{**LITE, "filters": 4, "num_blocks": 2})
    card = card_of(model, "fuzzed")
    save_model(model, folder / "model.keras")
    np.savez(folder / "model.npz", **state_dict("sr_x2_f16_g3"))
    proto = onnx_export.convert(model, card)
    tile = type(card).from_dict({**card.to_dict(), "tile": 16, "overlap": 4})
    converted = exporting.convert(model, 16)

    def of_zip(name, content):
        if name.endswith(".json"):
            return wild_json(content.decode()).map(str.encode) | damaged(content)
        return damaged(content) | damaged(content[:2048]).map(lambda head: head + content[2048:])

    def with_onnx_card(text):
        proto.metadata_props[0].value = text
        return proto.SerializeToString()

    def with_tflite_card(text):
        card = json.dumps(tile.to_dict()).encode()
        return tflite.replace(card, text.encode().ljust(len(card))[: len(card)])

    TrainConfig(data=("photos",)).resolved(False).write(folder)
    card_json = json.dumps(tile.to_dict())
    cluster = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    keras_file, npz = ((folder / name).read_bytes() for name in ("model.keras", "model.npz"))
    tflite, config = exporting.add_card(converted, tile), (folder / "config.json").read_text()
    return {
        "image": images,
        "keras": [("keras", in_zip(keras_file, of_zip)), ("keras", damaged(keras_file))],
        "tflite": [("tflite", damaged(tflite)), ("tflite", wild_json(card_json).map(with_tflite_card))],
        "onnx": [("onnx", damaged(proto.SerializeToString())), ("onnx", wild_json(card_json).map(with_onnx_card))],
        "npz": [("npz", in_zip(npz, of_zip)), ("npz", damaged(npz))],
        "config": [("json", wild_json(config).map(str.encode)), ("json", damaged(config.encode()))],
        "card": [("json", wild_json(card_json).map(str.encode)), ("json", damaged(card_json.encode()))],
        "tf_config": [("json", wild_json(json.dumps(cluster)).map(str.encode))],
    }


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_input_gives_a_result_or_one_line(target, whole, tmp_path):
    child, outcomes, failures = Child(target, tmp_path), collections.Counter(), []

    def check(drawn):
        if time.monotonic() > end:
            return
        extension, content = drawn
        path = tmp_path / f"input.{extension}"
        path.write_bytes(content)
        answer = child(path)
        outcomes[answer["outcome"]] += 1
        one_line = answer["outcome"] in ("result", "error") and "\n" not in answer.get("text", "")
        allowed = one_line or (target in MAY_DIE and answer["outcome"] in CRASHES)
        if not allowed or answer["seconds"] > TIME or answer["megabytes"] > MEGABYTES:
            kept = tmp_path / f"failure-{len(failures)}.{extension}"
            path.rename(kept)
            failures.append(f"{kept}: {answer}")

    files = st.one_of(*(strategy.map(lambda data, name=name: (name, data)) for name, strategy in whole[target]))
    quick = settings(max_examples=50, deadline=None, database=None, phases=[Phase.generate])
    quick = settings(quick, suppress_health_check=list(HealthCheck))
    child.start()
    end = time.monotonic() + SECONDS
    try:
        for number in itertools.islice(itertools.count(), ROUNDS):
            if time.monotonic() > end or len(failures) >= 20:
                break
            seed(number)(quick(given(files)(check)))()
    finally:
        child.end()
    print(f"{target}: {outcomes.total()} inputs, {dict(outcomes)}")
    assert outcomes["error"]
    assert not failures, "\n".join(failures)
