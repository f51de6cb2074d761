"""Builds export/web's page, serves it, and drives it in Chromium."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from rnan_tf.cli.web import make_server
from tests.conftest import ROOT
from tests.helpers.missing import skip_or_fail

WEB = ROOT / "export/web"
INSTALL = "the page needs Node.js and Chromium: apt-get install nodejs npm chromium; npm ci --prefix export/web"


def run_tool(name, *arguments):
    """Run a tool of export/web's, in its locked version."""
    tool = WEB / "node_modules/.bin" / name
    if not shutil.which("node") or not tool.exists():
        skip_or_fail(INSTALL)
    done = subprocess.run([tool, *map(str, arguments)], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build(folder: Path) -> Path:
    """Build the page with its int8 networks and samples; return its folder."""
    run_tool("tsc", "--noEmit")
    run_tool("vite", "build", "--outDir", folder)
    command = [sys.executable, WEB / "collect.py", "--output", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@contextmanager
def serving(page: Path):
    """Serve a page as `rnan-tf web` does; yield its address."""
    with make_server(page, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def add_float16(page: Path, preset: str, content: bytes) -> None:
    """Put a preset's float16 network beside a page."""
    name = f"networks/{preset}-fp16.tflite"
    (page / name).write_bytes(content)
    entry = {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (page / "networks/float16.json").write_text(json.dumps({preset: entry}))


@contextmanager
def browser(gpu: bool = False):
    """Start Chromium with tests/helpers/browser.mjs in front of it; yield a `Browser`.

    Args:
        gpu: whether WebGPU runs, on SwiftShader.
    """
    chromium = shutil.which("chromium")
    if not chromium or not (WEB / "node_modules/playwright-core").is_dir():
        skip_or_fail(INSTALL)
    driver = ["node", ROOT / "tests/helpers/browser.mjs", WEB / "package.json", chromium, *(["--gpu"] if gpu else [])]
    with subprocess.Popen(driver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Browser(process)


class Browser:
    """Chromium, and its driver's process."""

    def __init__(self, process):
        self._process = process

    def do(self, action: str, url: str, **arguments):
        """Run one of the driver's actions; nothing may go wrong in the page, and no request leave loopback."""
        request = {"do": action, "url": url, **arguments}
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failure" not in answer, answer["failure"]
        assert (answer["problems"], answer["left"]) == ([], [])
        return answer["result"]
