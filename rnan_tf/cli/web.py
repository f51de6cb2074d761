"""Serve the page that restores photographs in a browser, to this machine alone: `rnan-tf web`."""

import json
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rnan_tf import weights
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import JobError, command

PAGE = Path(__file__).parents[1] / "web"  # where `make web` builds it
ADDRESS = "127.0.0.1"
_PORT = 8765


@command
def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    args = build_parser().parse_args(argv)
    with make_server(PAGE, args.port) as server:
        address = f"http://{ADDRESS}:{server.server_port}/"
        print(f"{address} until Ctrl-C", flush=True)
        if not args.no_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def build_parser() -> Parser:
    """Return the parser of `rnan-tf web`."""
    parser = Parser(prog="rnan-tf web", description="Restore photographs in the browser, on this machine.")
    parser.add_argument("--port", type=_port, default=_PORT, metavar="N", help=f"0 for any that is free ({_PORT})")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    return parser


def _port(text):
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


_port.__name__ = "port from 0 to 65535"  # which argparse calls it


def make_server(page: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the page on loopback, not started.

    Args:
        page: the folder that `make web` built. Networks that are not in it, as in a wheel, are the package's own.
        port: 0 for any that is free.

    Raises:
        JobError: the page is not built, or the port is taken.
    """
    try:
        headers = json.loads((page / "headers.json").read_text())
    except FileNotFoundError:
        raise JobError("the page is not built; `make web` in a checkout builds it, with Node.js and npm") from None
    try:
        return ThreadingHTTPServer((ADDRESS, port), partial(_Handler, headers=headers, directory=str(page)))
    except OSError as error:
        raise JobError(f"port {port}: {error.strerror}; give another `port`, or 0") from error


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012, as in the base class; not the machine's, which may call scripts plain text
        ".css": "text/css",
        ".html": "text/html",
        ".jpg": "image/jpeg",
        ".js": "text/javascript",
        ".json": "application/json",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        "": "application/octet-stream",
    }

    def __init__(self, *args: Any, headers: dict[str, str], **kwargs: Any):
        self._sent = headers
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        found = Path(super().translate_path(path))
        if found.parent.name == "networks" and not found.exists():
            return str(weights.FOLDER / found.name)
        return str(found)

    def end_headers(self) -> None:
        for name, value in {**self._sent, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""
