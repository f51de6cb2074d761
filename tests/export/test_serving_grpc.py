"""The clients against a server of the official gRPC stubs and one of the documented JSON (helpers/model_server.py)."""

import http.server
import io
import shutil
import socket
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_service_pb2_grpc

from export.serving import client_grpc, client_rest
from rnan_tf.errors import JobError
from rnan_tf.export.saved_model.graph import ServingGraph
from rnan_tf.network.model import RNAN
from rnan_tf.photos.photo import Photo, read_photo, write_photo
from rnan_tf.restoring.adapters import restore_photo
from rnan_tf.restoring.card import ModelCard, card_of
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.task import get_task
from tests.helpers.model_server import SERVING, RestHandler, Service

PHOTO = skimage.data.astronaut()[60:101, 200:237]  # 41x37
TILING = Tiling(32, 8)
LIMIT = 10_000
LEVEL = 25


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    card = ModelCard.of_task(get_task("denoise"), (5, 60), conditional=True)
    return RNAN(filters=8, num_blocks=2, space_to_depth=2, conditional=True, metadata=card.to_dict())


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rnan") / "1"
    ServingGraph(model, card_of(model, "denoise"), TILING, LIMIT).save(folder)
    return tf.saved_model.load(str(folder)), folder


def expected(model, path):
    return restore_photo(read_photo(path), get_task("denoise"), KerasRuntime(model).at(LEVEL), TILING)


def expected_sideways(model, path):
    """What comes of a file that is sent as it is, turned upright afterwards."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return np.rot90(restore(KerasRuntime(model).at(LEVEL), pixels, 1, TILING), -1)


@pytest.fixture
def photo(tmp_path):
    """A colour photograph with transparency."""
    alpha = np.linspace(0, 255, PHOTO.shape[0] * PHOTO.shape[1]).reshape(PHOTO.shape[:2]).astype(np.uint8)
    write_photo(tmp_path / "photo.png", Photo(PHOTO, alpha, None, "PNG"))
    return tmp_path / "photo.png"


@pytest.fixture
def phone_photo(tmp_path):
    """A JPEG whose EXIF data says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "phone.jpg", quality=90, exif=exif)
    return tmp_path / "phone.jpg"


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).max()


# === gRPC ===


@pytest.fixture(scope="module")
def grpc_server(saved):
    service = Service(saved)
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=limits)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None).wait(10)


@pytest.fixture
def service(grpc_server, monkeypatch):
    monkeypatch.setattr(client_grpc, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(client_rest, "FIRST_WAIT", 0.01)
    grpc_server.unavailable = grpc_server.delay = grpc_server.calls = 0
    return grpc_server


@pytest.fixture
def grpc_client(service, capsys):
    """Run client_grpc.py: (exit code, lines on stderr)."""

    def run(*arguments, server=service.address):
        code = client_grpc.main([*map(str, arguments), "--server", server])
        return code, capsys.readouterr().err.splitlines()

    return run


def test_grpc_client_restores_a_photograph(grpc_client, model, photo, tmp_path):
    assert grpc_client(photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored, wanted = read_photo(tmp_path / "out.png"), expected(model, photo)
    assert difference(restored.pixels, wanted.pixels) <= 1
    assert difference(restored.alpha, wanted.alpha) == 0
    assert difference(restored.pixels, PHOTO) > 10


def test_grpc_client_turns_a_phone_photograph_upright(grpc_client, model, phone_photo, tmp_path):
    assert grpc_client(phone_photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored = read_photo(tmp_path / "out.png").pixels
    assert restored.shape == (37, 41, 3)
    assert difference(restored, expected(model, phone_photo).pixels) <= 1


def test_messages_may_be_large(service):
    data = np.random.default_rng(0).bytes(6_000_000)
    with client_grpc.Client(service.address, "echo", 60) as client:
        assert client.restore(data) == data


def test_grpc_client_tries_again_while_the_server_is_busy(grpc_client, service, photo, tmp_path):
    service.unavailable = client_grpc.ATTEMPTS - 1
    assert grpc_client(photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    assert service.calls == client_grpc.ATTEMPTS
    service.unavailable = client_grpc.ATTEMPTS
    code, err = grpc_client(photo, "-o", tmp_path / "out2.png", "--level", LEVEL)
    assert code == 1 and len(err) == 1 and "queue is full" in err[0]
    assert not (tmp_path / "out2.png").exists()


def test_grpc_refusals_are_one_line_and_the_server_lives_on(grpc_client, service, photo, tmp_path):
    out = tmp_path / "out.png"
    Image.fromarray(np.zeros((101, 100, 3), np.uint8)).save(tmp_path / "large.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    for code, message, arguments in (
        (2, "level must be from 5 to 60; received: 61", [photo, "--level", 61]),
        (2, f"at most {LIMIT} restored pixels are served at a time, these would be 10100", [tmp_path / "large.png"]),
        (2, "takes a --level", [photo, "--level"]),
        (2, "16 bits", [tmp_path / "deep.png"]),
        (2, "no such file", [tmp_path / "none.png"]),
        (2, "NOT_FOUND: Servable not found", [photo, "--name", "other"]),
    ):
        if arguments[-1] == "--level":
            arguments = arguments[:-1]
        elif "--level" not in arguments:
            arguments = [*arguments, "--level", LEVEL]
        got, err = grpc_client(*arguments, "-o", out)
        assert got == code and len(err) == 1 and message in err[0], (message, err)
        assert not out.exists()
    with client_grpc.Client(service.address, "rnan", 60) as client, pytest.raises(ValueError, match="not a PNG or"):
        client.restore(b"nonsense", LEVEL)
    service.calls = 0
    assert grpc_client(photo, "-o", out, "--level", LEVEL) == (0, [])
    assert service.calls == 1


def test_grpc_client_without_a_server_or_an_answer(grpc_client, service, photo, tmp_path, free_port, monkeypatch):
    out = tmp_path / "out.png"
    code, err = grpc_client(photo, "-o", out, "--level", LEVEL, "--timeout", 20, server=f"127.0.0.1:{free_port}")
    assert code == 1 and len(err) == 1 and "UNAVAILABLE" in err[0]
    service.delay = 1
    code, err = grpc_client(photo, "-o", out, "--level", LEVEL, "--timeout", 0.3)
    assert code == 1 and len(err) == 1 and "DEADLINE_EXCEEDED" in err[0]
    monkeypatch.setitem(sys.modules, "grpc", None)
    code, err = grpc_client(photo, "-o", out)
    assert code == 2 and len(err) == 1 and "pip install 'rnan-tf[serving]'" in err[0]


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for localhost: (key, certificate)."""
    key, made = tmp_path / "key.pem", tmp_path / "ca.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made, *names]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return key.read_bytes(), made.read_bytes()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_grpc_client_encrypts(grpc_client, service, photo, tmp_path, certificate):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([certificate]))
    server.start()
    arguments = [photo, "-o", tmp_path / "out.png", "--level", LEVEL, "--timeout", 5]
    try:
        trusting = [*arguments, "--tls", "--ca", tmp_path / "ca.pem"]
        assert grpc_client(*trusting, server=f"localhost:{port}") == (0, [])
        for unfit in ([], ["--tls"]):
            (tmp_path / "out.png").unlink(missing_ok=True)
            code, err = grpc_client(*arguments, *unfit, server=f"localhost:{port}")
            assert code == 1 and len(err) == 1 and not (tmp_path / "out.png").exists()
    finally:
        server.stop(None).wait(10)


@pytest.fixture
def free_port():
    """A port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# === REST ===


@pytest.fixture(scope="module")
def rest_server(grpc_server):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RestHandler)
    server.service = grpc_server
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def rest_client(service, rest_server, capsys):
    """Run client_rest.py: (exit code, lines on stderr)."""

    def run(*arguments, server=rest_server):
        code = client_rest.main([*map(str, arguments), "--server", server])
        return code, capsys.readouterr().err.splitlines()

    return run


def test_rest_client_restores_a_photograph(rest_client, model, phone_photo, tmp_path):
    assert rest_client(phone_photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored = read_photo(tmp_path / "out.png").pixels
    assert restored.shape == (37, 41, 3)  # the EXIF data came along
    assert difference(restored, expected_sideways(model, phone_photo)) <= 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_exif_of_a_png_is_found(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG", exif=exif)
    data = client_rest.find_exif(buffer.getvalue())
    assert data.removeprefix(b"Exif\0\0") == exif.tobytes().removeprefix(b"Exif\0\0")
    with Image.open(io.BytesIO(client_rest.add_exif(buffer.getvalue(), data))) as image:
        image.load()
        assert image.getexif()[0x0112] == 8
    assert client_rest.find_exif(b"\xff\xd8\xff\xe1\x01") == client_rest.find_exif(b"") == b""


def test_rest_client_tries_again_while_the_server_is_busy(rest_client, service, phone_photo, tmp_path):
    service.unavailable = client_rest.ATTEMPTS - 1
    assert rest_client(phone_photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    assert service.calls == client_rest.ATTEMPTS
    service.unavailable = client_rest.ATTEMPTS
    code, err = rest_client(phone_photo, "-o", tmp_path / "out2.png", "--level", LEVEL)
    assert code == 1 and len(err) == 1 and "HTTP 503: The batch scheduling queue is full" in err[0]
    assert not (tmp_path / "out2.png").exists()


def test_rest_refusals_are_one_line(rest_client, service, photo, phone_photo, tmp_path, free_port):
    out = tmp_path / "out.png"
    (tmp_path / "text.png").write_text("hello")
    for code, message, arguments in (
        (2, "level must be from 5 to 60; received: 61", [phone_photo, "--level", 61]),
        (2, "without transparency; channels received: 4", [photo, "--level", LEVEL]),
        (2, "not a PNG or JPEG file; bytes received: 5", [tmp_path / "text.png", "--level", LEVEL]),
        (2, "expecting list of objects", [phone_photo]),
        (2, "HTTP 404: Servable not found", [phone_photo, "--name", "other"]),
        (2, "cannot be read", [tmp_path / "none.png"]),
        (2, "unrecognized arguments", [phone_photo, "--fast"]),
    ):
        got, err = rest_client(*arguments, "-o", out)
        assert got == code and len(err) == 1 and message in err[0], (message, err)
    code, err = rest_client(phone_photo, "-o", tmp_path / "out.jpg")
    assert code == 2 and len(err) == 1 and ".png" in err[0]
    code, err = rest_client(phone_photo, "-o", out, server=f"http://127.0.0.1:{free_port}")
    assert code == 1 and len(err) == 1 and "refused" in err[0]
    service.delay = 1
    code, err = rest_client(phone_photo, "-o", out, "--timeout", 0.3)
    assert code == 1 and len(err) == 1 and "time" in err[0]
    assert not out.exists()


def test_rest_client_needs_the_standard_library_alone(service, rest_server, phone_photo, tmp_path):
    script = shutil.copy(client_rest.__file__, tmp_path)
    command = [sys.executable, "-I", "-S", script, phone_photo, "-o", tmp_path / "out.png"]
    done = subprocess.run([*command, "--server", rest_server, "--level", str(LEVEL)], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_photo(tmp_path / "out.png").pixels.shape == (37, 41, 3)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_client(service, rest_server, model, phone_photo, tmp_path):
    def run(*arguments):
        command = ["sh", SERVING / "client_curl.sh", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    out, url = tmp_path / "out.png", f"{rest_server}/v1/models/rnan"
    done = run(phone_photo, out, url, LEVEL)
    assert (done.returncode, done.stderr) == (0, "")
    upright = np.rot90(read_photo(out).pixels, -1)
    assert difference(upright, expected_sideways(model, phone_photo)) <= 1
    out.unlink()
    done = run(phone_photo, out, url, 61)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("400: level must be from 5 to 60; received: 61\n")
    done = run(tmp_path / "none.png", out, url)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("comes_back", [True, False])
def test_grpc_client_waits_for_a_server_that_died(service, comes_back):
    def start(port=0):
        server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server, port

    first, port = start()
    again = []
    with client_grpc.Client(f"127.0.0.1:{port}", "rnan", 60 if comes_back else 3) as client:
        client.inputs()
        first.stop(None).wait(10)
        client.name = "echo"
        if not comes_back:
            with pytest.raises(JobError, match="DEADLINE_EXCEEDED"):
                client.restore(b"a photograph")
            return
        timer = threading.Timer(2, lambda: again.append(start(port)[0]))
        timer.start()
        try:
            assert client.restore(b"a photograph") == b"a photograph"
        finally:
            timer.join()
            again[0].stop(None).wait(10)
