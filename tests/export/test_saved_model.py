"""The SavedModel: what a server computes from it, and what it refuses."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnan_tf.photos.photo import read_photo
from rnan_tf.photos.pixels import to_float
from rnan_tf.restoring.adapters import restore_photo
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import restore
from rnan_tf.tasks.task import get_task
from tests.helpers.quick import quick
from tests.helpers.saved_models import LIMIT, MODELS, PHOTO, TILING

TASKS = list(MODELS)


def call(signatures, signature, strengths=None, **inputs):
    """Run a signature on batches of numpy arrays or bytes; return its only output."""
    arguments = {name: tf.constant(value) for name, value in inputs.items()}
    if strengths is not None:
        arguments["level"] = tf.constant(strengths, tf.float32)
    (output,) = signatures[signature](**arguments).values()
    return output.numpy()


def strengths_for(name, batch):
    return [20.0] * batch if MODELS[name][0].get("conditional") else None


def pixels_for(name):
    """67x71 as the task's network takes it."""
    task = get_task(name)
    return task.degrade(task.clean(PHOTO), (1, 2), {"jpeg": 10}.get(name, 20)) if task.scale == 1 else PHOTO


def as_file(pixels, file_format="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(float) - b.astype(float)).max()


# === What it computes ===


@pytest.mark.parametrize("name", quick(["denoise", "sr-x2"], TASKS))
def test_pixels_equal_the_keras_model(exported, name):
    model, _, signatures = exported(name)
    image = pixels_for(name)
    batch = np.stack([image, image[::-1, ::-1]])
    served = call(signatures, "serving_default", strengths_for(name, 2), image=batch)
    expected = [restore(KerasRuntime(model).at(20), each, model.scale, TILING) for each in batch]
    assert served.dtype == np.uint8
    assert difference(served, np.stack(expected)) <= 1
    if model.scale == 1:
        assert difference(served, batch) > 10  # the network does something


@pytest.mark.parametrize("name", ["denoise", "sr-x2"])
def test_floats_equal_the_keras_model(exported, name):
    model, _, signatures = exported(name)
    image = (pixels_for(name).astype(np.uint16) << 8) + 77
    served = call(signatures, "serve_float", strengths_for(name, 1), image=to_float(image)[None])[0]
    expected = restore(KerasRuntime(model).at(20), image, model.scale, TILING)
    assert served.dtype == np.float32
    assert difference(np.clip(served, 0, 1), to_float(expected)) < 2e-5


@pytest.mark.parametrize("name", quick(["denoise", "sr-x2"], TASKS))
def test_files_equal_rnan_tf_restore(exported, name, tmp_path):
    model, _, signatures = exported(name)
    rgb = pixels_for(name) if name == "demosaic" else PHOTO[:50, :37]
    files = [as_file(PHOTO[:33, :40, :1]), as_file(rgb), as_file(PHOTO[..., 1:2], "JPEG", quality=60)]
    if name != "demosaic":
        files.append(as_file(PHOTO, "JPEG", quality=30))
    served = call(signatures, "serve_bytes", strengths_for(name, len(files)), image_bytes=files)
    for number, (sent, got) in enumerate(zip(files, served, strict=True)):
        path = tmp_path / str(number)
        path.write_bytes(sent)
        predict = KerasRuntime(model).at(20)
        expected = restore_photo(read_photo(path), get_task(name), predict, TILING).pixels
        with Image.open(io.BytesIO(got)) as image:
            assert image.format == "PNG"
            pixels = np.asarray(image)
        assert difference(pixels.reshape(*pixels.shape[:2], -1), expected) <= 1


@pytest.mark.parametrize("height, width", [(1, 1), (1, 50), (7, 3), (33, 34)])
def test_any_size(exported, height, width):
    model, _, signatures = exported("sr-x2")
    image = PHOTO[:height, :width]
    served = call(signatures, "serving_default", image=image[None])[0]
    assert difference(served, restore(KerasRuntime(model).run, image, 2, TILING)) <= 1


def test_each_image_has_its_own_strength(exported):
    model, _, signatures = exported("denoise")
    batch = np.stack([PHOTO[:20, :24]] * 2)
    served = call(signatures, "serving_default", [5, 60], image=batch)
    for image, strength in zip(served, (5, 60), strict=True):
        assert difference(image, restore(KerasRuntime(model).at(strength), batch[0], 1, TILING)) <= 1
    assert difference(served[0], served[1]) > 1


# === What it refuses ===


_HUGE = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
_BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR") + _HUGE + struct.pack(">I", zlib.crc32(b"IHDR" + _HUGE))
_PNG, _JPEG = as_file(PHOTO), as_file(PHOTO, "JPEG")
REFUSED_FILES = {
    "no image": (b"nonsense", "not a PNG or JPEG file"),
    "nothing": (b"", "not a PNG or JPEG file"),
    "a start": (_PNG[:20], "not a PNG or JPEG file"),
    "cut PNG": (_PNG[:-300], "Invalid PNG data"),
    "cut JPEG": (_JPEG[: len(_JPEG) // 2], "Invalid JPEG data"),
    "WebP": (as_file(PHOTO, "WEBP"), "not a PNG or JPEG file"),
    "alpha": (as_file(np.zeros((5, 5, 4), np.uint8)), "without transparency; channels received:] [4]"),
    "gray and alpha": (as_file(np.zeros((5, 5, 2), np.uint8)), "without transparency; channels received:] [2]"),
    "huge PNG": (_BOMB, f"at most {LIMIT} restored pixels are served at a time, these would be] [3600000000]"),
    "huge JPEG": (as_file(np.zeros((200, 201, 3), np.uint8), "JPEG"), f"at most {LIMIT}"),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_refused_files(exported, case):
    signatures = exported("denoise")[2]
    sent, message = REFUSED_FILES[case]
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        call(signatures, "serve_bytes", [20, 20], image_bytes=[_PNG, sent])
    assert message in str(caught.value)


def test_full_photograph_is_no_mosaic(exported):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a GRBG mosaic"):
        call(exported("demosaic")[2], "serve_bytes", image_bytes=[_PNG])


@pytest.mark.parametrize(
    "shape, strengths, message",
    [
        ((1, 8, 8, 1), [20], "image must have 3 channel"),
        ((1, 8, 8, 4), [20], "image must have 3 channel"),
        ((2, 200, 101, 3), [20, 20], f"at most {LIMIT} restored pixels"),
        ((1, 0, 8, 3), [20], "the image is empty"),
        ((2, 8, 8, 3), [20], "one value an image"),
        ((2, 8, 8, 3), [20, 61], "level must be from 5 to 60; received:] [20 61]"),
        ((1, 8, 8, 3), [np.nan], "level must be from 5 to 60"),
    ],
)
def test_refused_pixels(exported, shape, strengths, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        call(exported("denoise")[2], "serving_default", strengths, image=np.zeros(shape, np.uint8))
    assert message in str(caught.value)


def test_limit_counts_restored_pixels(exported):
    signatures = exported("sr-x2")[2]
    assert call(signatures, "serving_default", image=PHOTO[None, :50, :50]).shape == (1, 100, 100, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[40400\]"):
        call(signatures, "serving_default", image=np.zeros((1, 101, 100, 3), np.uint8))


# === The files ===


def test_weights_are_stored_once(exported):
    model, version, _ = exported("sr-x2")
    stored = tf.train.list_variables(str(version / "variables" / "variables"))
    assert sum(int(np.prod(shape)) for name, shape in stored if shape) == model.count_params()


# Ran with nothing of TensorFlow but the C API, as the server is. numpy.random is imported first: TensorFlow's symbols
# hide OpenSSL's from it.
C_API = """
import ctypes, json, sys
import numpy as np, numpy.random
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p

folder, library, feed, level, fetch, index, image = sys.argv[1:]
ctypes.CDLL(library + "/libtensorflow_framework.so.2", mode=ctypes.RTLD_GLOBAL)
tf = ctypes.CDLL(library + "/libtensorflow_cc.so.2")

class Output(ctypes.Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]

def function(name, result, *arguments):
    f = getattr(tf, name)
    f.restype, f.argtypes = result, arguments
    return f

status = function("TF_NewStatus", c_void_p)()
graph = function("TF_NewGraph", c_void_p)()
options = function("TF_NewSessionOptions", c_void_p)()
code, message = function("TF_GetCode", c_int, c_void_p), function("TF_Message", c_char_p, c_void_p)
load = function("TF_LoadSessionFromSavedModel", c_void_p, c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int,
                c_void_p, c_void_p, c_void_p)
session = load(options, None, folder.encode(), (c_char_p * 1)(b"serve"), 1, graph, None, status)
assert code(status) == 0, message(status)

find = function("TF_GraphOperationByName", c_void_p, c_void_p, c_char_p)
allocate = function("TF_AllocateTensor", c_void_p, c_int, POINTER(c_int64), c_int, c_size_t)
data = function("TF_TensorData", c_void_p, c_void_p)
size = function("TF_TensorByteSize", c_size_t, c_void_p)
run = function("TF_SessionRun", None, c_void_p, c_void_p, POINTER(Output), POINTER(c_void_p), c_int, POINTER(Output),
               POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p)
UINT8, FLOAT = 4, 1

def tensor(array, kind):
    made = allocate(kind, (c_int64 * array.ndim)(*array.shape), array.ndim, array.nbytes)
    ctypes.memmove(data(made), array.ctypes.data, array.nbytes)
    return made

def restore(pixels, sigma):
    operations = [find(graph, name.encode()) for name in (feed, level, fetch)]
    assert all(operations)
    feeds = (Output * 2)(Output(operations[0], 0), Output(operations[1], 0))
    values = (c_void_p * 2)(tensor(pixels, UINT8), tensor(np.float32([sigma]), FLOAT))
    fetched = (c_void_p * 1)()
    fetches = (Output * 1)(Output(operations[2], int(index)))
    run(session, None, feeds, values, 2, fetches, fetched, 1, None, 0, None, status)
    if code(status):
        return [code(status), message(status).decode()]
    return [0, np.frombuffer(ctypes.string_at(data(fetched[0]), size(fetched[0])), np.uint8).tolist()]

pixels = np.load(image)
print(json.dumps([restore(pixels[..., :1].copy(), 20), restore(pixels, 99), restore(pixels, 20)]))
"""


def test_runs_under_the_c_api_of_the_server(exported, run_python, tmp_path):
    _, version, signatures = exported("denoise")
    image = PHOTO[None, :40, :37]
    np.save(tmp_path / "image.npy", np.ascontiguousarray(image))
    names = signature_tensors(version)
    library = os.path.dirname(tf.__file__)
    fetch, index = names["restored"].split(":")
    wrong_channels, wrong_level, good = run_python(
        C_API,
        version,
        library,
        names["image"].split(":")[0],
        names["level"].split(":")[0],
        fetch,
        index,
        tmp_path / "image.npy",
    )
    assert wrong_channels[0] == 3 and "image must have 3 channel(s), this one has] [1]" in wrong_channels[1]
    assert wrong_level[0] == 3 and "level must be from 5 to 60; received:] [99]" in wrong_level[1]
    expected = call(signatures, "serving_default", [20], image=image)
    assert good[0] == 0
    assert difference(np.array(good[1]).reshape(image.shape), expected) <= 1


def signature_tensors(version):
    """Tensor names of `serving_default`, read from the file as the server reads it."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signature = content.meta_graphs[0].signature_def["serving_default"]
    return {name: info.name for name, info in [*signature.inputs.items(), *signature.outputs.items()]}


def test_runs_under_saved_model_cli(exported, tmp_path):
    _, version, signatures = exported("demosaic")
    image = pixels_for("demosaic")[None, :24, :28]
    np.save(tmp_path / "image.npy", image)
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", str(version)]
    command += ["--tag_set", "serve", "--signature_def", "serving_default"]
    command += ["--inputs", f"image={tmp_path / 'image.npy'}", "--outdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    served = np.load(tmp_path / "restored.npy")
    assert difference(served, call(signatures, "serving_default", image=image)) <= 1


THIN = """
import json, sys
from pathlib import Path
import psutil
import tensorflow as tf
from rnan_tf.export.saved_model.tiles import restore_in_tiles
from rnan_tf.restoring.tiling import Tiling

def restore(image):
    return restore_in_tiles(lambda tile: tile / 2, image, 1, 3, Tiling())

restore = tf.function(restore, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
restore(tf.zeros((8, 8, 3), tf.uint8))
image = tf.zeros((int(sys.argv[1]), int(sys.argv[2]), 3), tf.uint8)
before = psutil.Process().memory_info().rss
Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
restore(image)
(line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps(int(line.split()[1]) / 1024 - before / 2**20))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak of memory is Linux's to tell")
def test_a_thin_image_takes_little_more_memory_than_a_square(run_python):
    square = run_python(THIN, 2000, 2000)
    for size in ((1, 4_000_000), (4_000_000, 1)):
        assert run_python(THIN, *size) < 2.5 * square  # measured 1.8 and 1.7; it was 5.2
