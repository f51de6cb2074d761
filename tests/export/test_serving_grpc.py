"""client_grpc.py against a server of the official stubs (helpers/model_server.py)."""

import shutil
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow_serving.apis import prediction_service_pb2_grpc

from export.serving import client_grpc
from rnan_tf.errors import JobError
from rnan_tf.photos.photo import read_photo
from tests.helpers.served import LEVEL, LIMIT, PHOTO, difference, expected


@pytest.fixture
def grpc_client(service, capsys):
    """Run client_grpc.py: (exit code, lines on stderr)."""

    def run(*arguments, server=service.address):
        code = client_grpc.main([*map(str, arguments), "--server", server])
        return code, capsys.readouterr().err.splitlines()

    return run


def test_grpc_client_restores_a_photograph(grpc_client, denoiser, photo, tmp_path):
    assert grpc_client(photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored, wanted = read_photo(tmp_path / "out.png"), expected(denoiser, photo)
    assert difference(restored.pixels, wanted.pixels) <= 1
    assert difference(restored.alpha, wanted.alpha) == 0
    assert difference(restored.pixels, PHOTO) > 10


def test_grpc_client_turns_a_phone_photograph_upright(grpc_client, denoiser, phone_photo, tmp_path):
    assert grpc_client(phone_photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored = read_photo(tmp_path / "out.png").pixels
    assert restored.shape == (37, 41, 3)
    assert difference(restored, expected(denoiser, phone_photo).pixels) <= 1


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
