"""client_rest.py and client_curl.sh against a server of the documented JSON (helpers/model_server.py)."""

import http.server
import io
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from export.serving import client_rest
from rnan_tf.photos.photo import read_photo
from tests.helpers.model_server import SERVING, RestHandler
from tests.helpers.served import LEVEL, PHOTO, difference, expected_sideways


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


def test_rest_client_restores_a_photograph(rest_client, denoiser, phone_photo, tmp_path):
    assert rest_client(phone_photo, "-o", tmp_path / "out.png", "--level", LEVEL) == (0, [])
    restored = read_photo(tmp_path / "out.png").pixels
    assert restored.shape == (37, 41, 3)  # the EXIF data came along
    assert difference(restored, expected_sideways(denoiser, phone_photo)) <= 1
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
def test_curl_client(service, rest_server, denoiser, phone_photo, tmp_path):
    def run(*arguments):
        command = ["sh", SERVING / "client_curl.sh", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    out, url = tmp_path / "out.png", f"{rest_server}/v1/models/rnan"
    done = run(phone_photo, out, url, LEVEL)
    assert (done.returncode, done.stderr) == (0, "")
    upright = np.rot90(read_photo(out).pixels, -1)
    assert difference(upright, expected_sideways(denoiser, phone_photo)) <= 1
    out.unlink()
    done = run(phone_photo, out, url, 61)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("400: level must be from 5 to 60; received: 61\n")
    done = run(tmp_path / "none.png", out, url)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert not out.exists()
