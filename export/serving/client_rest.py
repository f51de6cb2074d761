"""Restore a photograph by TensorFlow Serving's REST API: `python client_rest.py photo.jpg -o restored.png`.

It uses Python's standard library alone, so this one file works on any machine. The photograph is sent as it is, a PNG
or JPEG file; what comes back is a PNG file. The EXIF data, which says which side is up, is carried over.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ATTEMPTS = 5
FIRST_WAIT = 0.5  # seconds; doubled after each attempt
LARGEST_ANSWER = 512 * 2**20  # bytes: more than 100 Mpixel take as base64 of a PNG file
LARGEST_REASON = 2**20  # bytes of an error's body
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class RequestError(Exception):
    """What went wrong, in one line, and the exit code: 2 for wrong use, 1 for a failure."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(" ".join(message.split()))
        self.code = code


def restore(file: bytes, url: str, level: float | None = None, timeout: float = 600) -> bytes:
    """Restore an image file.

    Args:
        file: a PNG or JPEG file, gray or RGB.
        url: of the model, http://HOST:PORT/v1/models/NAME.
        level: noise sigma on the 0-255 scale, for a conditional model.
        timeout: seconds for the whole request, its retries included.

    Returns:
        A PNG file.

    Raises:
        RequestError: the server cannot be reached, refuses the image, fails, or answers with something else.
    """
    image = {"b64": base64.b64encode(file).decode()}
    instance = image if level is None else {"image_bytes": image, "level": level}
    body = json.dumps({"signature_name": "serve_bytes", "instances": [instance]}).encode()
    answer = _post(f"{url}:predict", body, time.monotonic() + timeout)
    try:
        png = base64.b64decode(json.loads(answer)["predictions"][0]["b64"], validate=True)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RequestError(f"{url}: the answer is not a prediction of an exported RNAN") from error
    if not png.startswith(PNG_SIGNATURE) or png[-8:-4] != b"IEND":
        raise RequestError(f"{url}: the answer is not a whole PNG file")
    return png


def _post(url, body, deadline):
    """Post JSON, again with growing pauses as long as the server is starting or has a full queue.

    A request that the server did not survive is not sent again.
    """
    for attempt in range(ATTEMPTS):
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        seconds = max(deadline - time.monotonic(), 0.001)
        again, code = False, 1
        try:
            status, answer = _in_time(seconds, lambda request=request, seconds=seconds: _exchange(request, seconds))
            if status == 200:
                return answer
            again, code = status == 503, 2 if status in (400, 404) else 1
            message = f"{url}: HTTP {status}: {_reason(answer)}"
        except TimeoutError:
            message = f"{url}: no answer in time; give a larger --timeout"
        except urllib.error.URLError as error:
            again, message = isinstance(error.reason, ConnectionRefusedError), f"{url}: {error.reason}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            message = f"{url}: {str(error) or type(error).__name__}"
        pause = FIRST_WAIT * 2**attempt
        if not again or attempt == ATTEMPTS - 1 or time.monotonic() + pause > deadline:
            break
        time.sleep(pause)
    raise RequestError(message, code)


def _in_time(seconds, call):
    """Return what a call returns or raise `TimeoutError`: urllib's own timeout is for each read, not for the whole."""
    future = concurrent.futures.Future()

    def work():
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result(seconds)


def _exchange(request, timeout):
    """Return the status and the body of the answer."""
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = response.read(LARGEST_ANSWER + 1)
            if len(answer) > LARGEST_ANSWER:
                raise RequestError(f"{request.full_url}: the answer has more than {LARGEST_ANSWER} bytes")
            if response.length:  # read(limit) does not tell by itself
                raise http.client.IncompleteRead(answer, response.length)
            return response.status, answer
    except urllib.error.HTTPError as error:
        with error, contextlib.suppress(OSError, http.client.HTTPException):
            return error.code, error.read(LARGEST_REASON) or error.reason.encode()
        return error.code, error.reason.encode()


def _reason(answer):
    """Cut the line that matters out of the server's {"error": ...}."""
    text = answer.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        text = str(json.loads(text)["error"])
    failed = re.search(r"assertion failed: \[(.*?)\] \[(.*?)\]", text)
    return " ".join(failed.groups()) if failed else text[:500]


# === EXIF ===


def find_exif(file: bytes) -> bytes:
    """Return the EXIF data of a PNG or JPEG file, or nothing."""
    try:
        if file.startswith(PNG_SIGNATURE):
            start = 8
            while file[start + 4 : start + 8] not in (b"eXIf", b"IEND"):
                start += 12 + struct.unpack_from(">I", file, start)[0]
            return file[start + 8 : start + 8 + struct.unpack_from(">I", file, start)[0]]
        start = 2
        while file[start] == 0xFF and file[start + 1] != 0xDA:  # up to the start of the scan
            (length,) = struct.unpack_from(">H", file, start + 2)
            if file[start + 1] == 0xE1 and file[start + 4 : start + 10] == b"Exif\0\0":
                return file[start + 10 : start + 2 + length]
            start += 2 + length
    except (struct.error, IndexError):  # cut short: the server will say so
        pass
    return b""


def add_exif(png: bytes, exif: bytes) -> bytes:
    """Return a PNG file with EXIF data."""
    if not exif:
        return png
    chunk = b"eXIf" + exif
    chunk = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + chunk + png[33:]  # 33: behind the signature and IHDR


# === The command ===


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise RequestError(f"{message}; see --help", 2)


def run(argv: list[str] | None) -> None:
    """Read the command line, restore the photograph, write it."""
    parser = _Parser(
        description="Restore a photograph on a server.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("photo", metavar="PHOTO", help="a PNG or JPEG file, gray or RGB")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.png", help="the PNG file to write")
    parser.add_argument("--server", default="http://localhost:8501", metavar="URL", help="REST address")
    parser.add_argument("--name", default="rnan", help="of the served model")
    parser.add_argument("--level", type=float, help="noise sigma (0-255 scale), for a conditional model")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for the whole request")
    args = parser.parse_args(argv)
    output = Path(args.output)
    if output.suffix.lower() != ".png":
        raise RequestError(f"{output}: the server answers with PNG; give a name that ends in .png", 2)
    try:
        file = Path(args.photo).read_bytes()
    except OSError as error:
        raise RequestError(f"{args.photo}: cannot be read ({error.strerror})", 2) from error
    if os.path.exists(output) and os.path.samefile(args.photo, output):
        raise RequestError(f"{output}: is the photograph itself; give another name", 2)
    url = f"{args.server.rstrip('/')}/v1/models/{args.name}"
    restored = add_exif(restore(file, url, args.level, args.timeout), find_exif(file))
    temporary = output.with_name(f".{output.name}.part")
    try:
        temporary.write_bytes(restored)
        os.replace(temporary, output)
    except OSError as error:
        raise RequestError(f"{output}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        run(argv)
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
