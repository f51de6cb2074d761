"""`rnan-tf web`: loopback, the headers that threads need, and one line where there is nothing to serve."""

import http.client
import json
import socket
import threading

import pytest

from rnan_tf import weights
from rnan_tf.cli import main, web

HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "headers.json").write_text(json.dumps(HEADERS))
    (folder / "index.html").write_text("the page")
    (folder / "assets/code.js").write_text("code")
    (folder / "code.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def get(page):
    """Ask for a path: (status, headers, body)."""
    with web.make_server(page, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def get(path):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, {name.title(): value for name, value in answer.getheaders()}, answer.read()

        yield get
        server.shutdown()
        thread.join()


def test_every_answer_has_the_headers(get):
    for path, status in (("/", 200), ("/assets/code.js", 200), ("/none", 404)):
        found, headers, _ = get(path)
        assert found == status
        assert HEADERS.items() <= headers.items()


def test_files_and_their_types(get):
    assert get("/")[2] == b"the page"
    assert get("/code.wasm")[1]["Content-Type"] == "application/wasm"  # else browsers do not compile it as it comes
    assert get("/assets/code.js")[1]["Content-Type"] == "text/javascript"


def test_networks_that_the_page_lacks_are_the_package_s(get):
    assert get("/networks/denoise-int8.tflite")[2] == (weights.FOLDER / "denoise-int8.tflite").read_bytes()


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/networks/../../secret.txt", "/assets/"])
def test_nothing_else_is_served(get, path):
    assert get(path)[0] == 404


def test_it_listens_on_loopback_alone(page):
    with web.make_server(page, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_it_opens_the_browser_unless_told(page, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(web, "PAGE", page)
    monkeypatch.setattr(web.webbrowser, "open", opened.append)
    monkeypatch.setattr(web.ThreadingHTTPServer, "serve_forever", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["web", "--port", "0"]) == 0
    assert main(["web", "--port", "0", "--no-browser"]) == 0
    assert opened == [capsys.readouterr().out.splitlines()[0].split()[0]]


class TestOneLine:
    def test_without_a_page(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(web, "PAGE", tmp_path)
        assert main(["web", "--no-browser"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "not built" in line and "make web" in line

    def test_a_port_that_is_taken(self, page, monkeypatch, capsys):
        monkeypatch.setattr(web, "PAGE", page)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["web", "--no-browser", "--port", str(port)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"port {port}" in line and "--port" in line

    def test_a_port_that_is_none(self, capsys):
        assert main(["web", "--port", "65536"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "port from 0 to 65535" in line
