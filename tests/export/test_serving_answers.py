"""client_rest.py against servers that fail in the middle, and what all clients refuse before they ask one."""

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.serving import client_grpc, client_rest


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


class Server:
    """Take a request a connection, hand the connection to `self.answer`."""

    def __init__(self):
        self.requests, self.answer = 0, lambda connection: None
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    received = b""
                    while not received.endswith(b"}]}"):
                        received += connection.recv(65536)
                    self.requests += 1
                    self.answer(connection)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(client_rest, "FIRST_WAIT", 0.01)
    server = Server()
    yield server
    server.socket.close()


@pytest.fixture
def ask(server, photo, capsys):
    """Ask the server that answers so; its exit code and its only line, after nothing was written."""

    def run(answer, *arguments):
        server.requests, server.answer = 0, answer
        out = photo.with_name("out.png")
        code = client_rest.main([str(photo), "-o", str(out), "--server", server.url, *arguments])
        (line,) = capsys.readouterr().err.splitlines()
        assert not out.exists()
        return code, line

    return run


def send(status, body, length=None, then=lambda connection: None):
    def answer(connection):
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
        connection.sendall(head.encode() + body)
        then(connection)

    return answer


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def prediction(data):
    return json.dumps({"predictions": [{"b64": base64.b64encode(data).decode()}]}).encode()


@pytest.mark.parametrize("then", [lambda connection: None, reset], ids=["cut", "reset"])
def test_a_broken_error_body_is_one_line(ask, then):
    code, line = ask(send("400 Bad Request", b'{"error": "lev', 1000, then))
    assert code == 2 and "HTTP 400" in line
    code, line = ask(send("500 Internal Server Error", b"", 1000, then))
    assert code == 1 and line.endswith("HTTP 500: Internal Server Error")


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_the_timeout_is_for_the_whole_request(ask, status):
    def drip(connection):
        for _ in range(50):
            connection.sendall(b" ")
            time.sleep(0.1)

    started = time.monotonic()
    code, line = ask(send(status, b"", 1000, drip), "--timeout", "0.5")
    assert code == 1 and "no answer in time" in line
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("then", [lambda connection: None, reset], ids=["cut", "reset"])
def test_a_request_that_kills_the_server_is_sent_once(ask, server, then):
    code, line = ask(then)
    assert code == 1 and server.url in line
    assert server.requests == 1
    code, line = ask(send("200 OK", prediction(b"x")[:10], 1000, then))
    assert code == 1 and server.requests == 1


@pytest.mark.parametrize("data", [b"hello", b"", b"\x89PNG\r\n\x1a\n cut short", b"\xff\xd8\xff JPEG IEND1234"])
def test_what_is_no_png_is_not_written(ask, data):
    code, line = ask(send("200 OK", prediction(data)))
    assert code == 1 and line.endswith("not a whole PNG file")


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"predictions": [{"b64": 5}]}'])
def test_what_is_no_prediction_is_one_line(ask, body):
    code, line = ask(send("200 OK", body))
    assert code == 1 and "not a prediction" in line
    code, line = ask(send("400 Bad Request", body))
    assert code == 2 and "HTTP 400" in line and len(line) < 1000


def test_the_answer_has_a_largest_size(ask, monkeypatch):
    monkeypatch.setattr(client_rest, "LARGEST_ANSWER", 1000)
    code, line = ask(send("200 OK", bytes(5000)))
    assert code == 1 and "more than 1000 bytes" in line


# === Before a server is asked ===


@pytest.fixture(params=["path", "symbolic link", "hard link"])
def same(request, photo):
    """A name of the photograph."""
    name = photo.with_name("same.png")
    if request.param == "path":
        return photo
    (os.symlink if request.param == "symbolic link" else os.link)(photo, name)
    return name


@pytest.mark.parametrize("client", ["rest", "grpc", "curl"])
def test_the_photograph_is_not_written_over(client, photo, same, capfd):
    data = photo.read_bytes()
    if client == "curl":
        if not shutil.which("curl"):
            pytest.skip("curl is not installed")
        script = Path(client_rest.__file__).with_name("client_curl.sh")
        code = subprocess.run(["sh", script, photo, same], timeout=60).returncode
    else:
        module = {"rest": client_rest, "grpc": client_grpc}[client]
        code = module.main([str(photo), "-o", str(same)])
    assert code == 2 and photo.read_bytes() == data
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"error: {same}: is the photograph itself; give another name"


def test_grpc_authorities_need_tls_and_a_file(photo, capsys):
    for arguments, message in (
        (["--ca", "a.pem"], "--tls"),
        (["--tls", "--ca", "none.pem"], "none.pem: cannot be read"),
    ):
        assert client_grpc.main([str(photo), "-o", str(photo.with_name("out.png")), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
