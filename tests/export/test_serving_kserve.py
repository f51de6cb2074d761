"""The SavedModel behind KServe's server process, asked by the clients for TensorFlow Serving's REST form.

KServe wants older packages than ours and has an environment of its own (`make .venv/kserve/.installed`).
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from export.serving import client_rest
from rnan_tf.photos.photo import read_photo
from tests.helpers.missing import skip_or_fail
from tests.helpers.model_server import SERVING
from tests.helpers.served import LEVEL, LIMIT, PHOTO, difference, expected_sideways

pytestmark = pytest.mark.slow

PYTHON = Path(sys.prefix) / "kserve" / "bin" / "python"
SCRIPT = SERVING / "kserve_server.py"


@pytest.fixture(scope="module")
def command():
    """How the server is started."""
    if not PYTHON.is_file():
        skip_or_fail("KServe is not installed: make .venv/kserve/.installed")
    return [PYTHON, SCRIPT]


@pytest.fixture(scope="module")
def server(command, saved_denoiser, tmp_path_factory):
    """Its address; the model is `rnan`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("kserve") / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, saved_denoiser[1].parent, "--port", str(port)], stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                assert ask(f"{url}/v1/models/rnan") == (200, {"name": "rnan", "ready": True})
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield url
        process.terminate()
        assert process.wait(120) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def ask(url, content=None):
    """The status and the JSON of the answer; a POST if there is content."""
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_rest_client(server, denoiser, phone_photo, tmp_path):
    out = tmp_path / "out.png"
    assert client_rest.main([str(phone_photo), "-o", str(out), "--server", server, "--level", str(LEVEL)]) == 0
    restored = read_photo(out).pixels
    assert difference(restored, expected_sideways(denoiser, phone_photo)) <= 1
    assert difference(np.rot90(restored), PHOTO) > 10


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_client(server, denoiser, phone_photo, tmp_path):
    def run(level):
        arguments = [phone_photo, tmp_path / "out.png", f"{server}/v1/models/rnan", level]
        return subprocess.run(
            ["sh", SERVING / "client_curl.sh", *arguments], capture_output=True, text=True, timeout=60
        )

    done = run(str(LEVEL))
    assert (done.returncode, done.stderr) == (0, "")
    upright = np.rot90(read_photo(tmp_path / "out.png").pixels, -1)
    assert difference(upright, expected_sideways(denoiser, phone_photo)) <= 1
    done = run("61")
    assert done.returncode == 1 and done.stderr.endswith("400: level must be from 5 to 60; received: 61\n")


def test_rest_refusals_are_one_line(server, photo, phone_photo, tmp_path, capsys):
    (tmp_path / "text.png").write_text("hello")
    for message, arguments in (
        ("level must be from 5 to 60; received: 61", [phone_photo, "--level", 61]),
        ("without transparency; channels received: 4", [photo, "--level", LEVEL]),
        ("not a PNG or JPEG file; bytes received: 5", [tmp_path / "text.png", "--level", LEVEL]),
        ("instances must be objects with image_bytes, level", [phone_photo]),
        ("HTTP 404: Model with name other does not exist", [phone_photo, "--name", "other", "--level", LEVEL]),
    ):
        arguments = [*map(str, arguments), "-o", str(tmp_path / "out.png"), "--server", server]
        assert client_rest.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line and not (tmp_path / "out.png").exists()


def test_arrays_in_rows(server, saved_denoiser):
    """The signatures of pixels, for a batch, against the same model in this process."""
    images = np.stack([PHOTO[:16, :20], PHOTO[16:32, :20]])
    rows = [{"image": image.tolist(), "level": level} for image, level in zip(images, (10, 40), strict=True)]
    for name, values in (("serving_default", images), ("serve_float", images.astype(np.float32) / 255)):
        content = [{**row, "image": value.tolist()} for row, value in zip(rows, values, strict=True)]
        status, answer = ask(f"{server}/v1/models/rnan:predict", {"signature_name": name, "instances": content})
        expected = saved_denoiser[0].signatures[name](image=values, level=np.array([10, 40], np.float32))["restored"]
        assert status == 200
        np.testing.assert_allclose(np.array(answer["predictions"]), expected, rtol=0, atol=1e-5)


def test_wrong_requests_are_one_line(server):
    row = {"image": np.zeros((4, 4, 3), int).tolist(), "level": 25}
    large = {"image": np.zeros((LIMIT // 100 + 1, 100, 3), int).tolist(), "level": 25}
    for content, message in (
        ([], "expecting a JSON object"),
        ({"inputs": {}}, 'list of "instances"'),
        ({"instances": [row], "signature_name": "none"}, "no signature none; there are serve_bytes, serve_float"),
        ({"instances": [{"level": 25}]}, "instances must be objects with image, level; image: "),
        ({"instances": [{**row, "level": "strong"}]}, "instances must be objects with image, level; level: "),
        ({"instances": [row, {**row, "image": [[[0, 0, 0]]]}]}, "instances must be objects with image, level; image: "),
        ({"instances": [{"image_bytes": 5, "level": 25}], "signature_name": "serve_bytes"}, "image_bytes: "),
        ({"instances": [large]}, f"at most {LIMIT} restored pixels"),
    ):
        status, answer = ask(f"{server}/v1/models/rnan:predict", content)
        assert status == 400 and message in answer["error"], answer
    assert ask(f"{server}/v1/models/rnan:predict", {"instances": [row]})[0] == 200


def test_no_or_a_damaged_model(command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged" / "3").mkdir(parents=True)
    (tmp_path / "damaged" / "3" / "saved_model.pb").write_bytes(b"nonsense")
    for name, message in (("empty", "no version of a SavedModel"), ("damaged", "damaged/3: cannot be loaded")):
        done = subprocess.run([*command, tmp_path / name], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ") and message in done.stderr.splitlines()[-1]
