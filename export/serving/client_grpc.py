"""Restore a photograph by TensorFlow Serving's gRPC API: `python client_grpc.py photo.jpg -o restored.png`."""

import argparse
import io
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command
from rnan_tf.photos.photo import Photo, check_writable, read_photo, write_photo
from rnan_tf.quiet import import_tensorflow

SIGNATURE = "serve_bytes"
ATTEMPTS = 5
FIRST_WAIT = 0.5  # seconds; doubled after each attempt
# gRPC's own limit is 4 MB a message, and after some failures it tries to connect only every two minutes.
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Client:
    """A served RNAN.

    Args:
        server: host:port of the gRPC API.
        name: of the served model.
        timeout: seconds for a request, its retries included.
        tls: encrypt the connection.
        ca: PEM certificates that the server's must descend from; None for the public authorities that gRPC knows.

    Raises:
        InputError: the packages of the extra `[serving]` are missing.
    """

    def __init__(self, server: str, name: str, timeout: float, tls: bool = False, ca: bytes | None = None):
        tf = import_tensorflow()
        try:
            import grpc
            from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise InputError("the gRPC client needs the packages of: pip install 'rnan-tf[serving]'") from error
        self._tf, self._grpc = tf, grpc
        self._metadata, self._predict = get_model_metadata_pb2, predict_pb2
        self.server, self.name, self.timeout, self._answered = server, name, timeout, False
        if tls:
            self._channel = grpc.secure_channel(server, grpc.ssl_channel_credentials(ca), OPTIONS)
        else:
            self._channel = grpc.insecure_channel(server, OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def inputs(self) -> set[str]:
        """Return the names of what the model takes; one that takes a level is conditional."""
        request = self._metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.name
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = self._metadata.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(signatures) or SIGNATURE not in signatures.signature_def:
            raise JobError(f"{self.server}: model {self.name} has no signature {SIGNATURE}; is it an exported RNAN?")
        return set(signatures.signature_def[SIGNATURE].inputs)

    def restore(self, file: bytes, level: float | None = None) -> bytes:
        """Restore an image file.

        Args:
            file: a PNG or JPEG file, gray or RGB.
            level: noise sigma on the 0-255 scale, for a conditional model.

        Returns:
            A PNG file.

        Raises:
            InputError: the server refuses the image.
            JobError: the server cannot be reached, or fails.
        """
        request = self._predict.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = SIGNATURE
        request.inputs["image_bytes"].CopyFrom(self._tf.make_tensor_proto([file]))
        if level is not None:
            request.inputs["level"].CopyFrom(self._tf.make_tensor_proto([level], self._tf.float32))
        response = self._call(self._stub.Predict, request)
        return self._tf.make_ndarray(response.outputs["image_bytes"])[0]

    def _call(self, method, request):
        """Call the server, again with growing pauses as long as it is starting or has a full queue.

        One that has answered before is waited for until the time is over: it may come back.
        """
        codes = self._grpc.StatusCode
        deadline = time.monotonic() + self.timeout
        for attempt in range(ATTEMPTS):
            try:
                response = method(request, timeout=max(deadline - time.monotonic(), 0), wait_for_ready=self._answered)
                self._answered = True
                return response
            except self._grpc.RpcError as error:
                code, message = error.code(), f"{self.server}: {error.code().name}: {readable(error.details())}"
            pause = FIRST_WAIT * 2**attempt
            if code != codes.UNAVAILABLE or attempt == ATTEMPTS - 1 or time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
        if code in (codes.INVALID_ARGUMENT, codes.NOT_FOUND):
            raise InputError(message)
        raise JobError(message)


def readable(message: str | None) -> str:
    """Cut the line that matters out of TensorFlow's report of a failed check."""
    failed = re.search(r"assertion failed: \[(.*?)\] \[(.*?)\]", message or "")
    return " ".join(failed.groups()) if failed else " ".join((message or "no reason given").split())


def restore_photo(client: Client, photo: Photo, level: float | None) -> Photo:
    """Restore a photograph, with its transparency and colour profile.

    Raises:
        InputError: it has 16 bits, or the server refuses it.
        JobError: the server cannot be reached, or fails.
    """
    pixels = photo.pixels
    if pixels.dtype != np.uint8:
        raise InputError("16 bits per channel; the server takes 8: use `rnan-tf restore`, or convert the photograph")
    takes_level = "level" in client.inputs()
    if takes_level != (level is not None):
        raise InputError(f"model {client.name} takes {'a' if takes_level else 'no'} --level")
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG", compress_level=1)
    with Image.open(io.BytesIO(client.restore(file.getvalue(), level))) as image:
        restored = np.asarray(image)
    restored = restored.reshape(*restored.shape[:2], -1)
    alpha = photo.alpha
    if alpha is not None and alpha.shape != restored.shape[:2]:
        size = restored.shape[1], restored.shape[0]
        alpha = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    return replace(photo, pixels=restored, alpha=alpha)


def _read_ca(path: str | None) -> bytes | None:
    try:
        return path and Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, restore the photograph, write it."""
    parser = Parser(
        prog="client_grpc.py",
        description="Restore a photograph on a server.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="PNG, JPEG, TIFF, BMP or WebP, 8 bits per channel")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--server", default="localhost:8500", metavar="HOST:PORT", help="gRPC address")
    parser.add_argument("--name", default="rnan", help="of the served model")
    parser.add_argument("--level", type=float, help="noise sigma (0-255 scale), for a conditional model")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for the whole request")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection")
    parser.add_argument("--ca", metavar="FILE", help="with --tls: PEM certificates to trust, not the public ones")
    args = parser.parse_args(argv)
    if args.ca and not args.tls:
        raise InputError("--ca is for an encrypted connection; give --tls too")
    photo = read_photo(args.photo)
    check_writable(args.output, photo)
    if os.path.exists(args.output) and os.path.samefile(args.photo, args.output):
        raise InputError(f"{args.output}: is the photograph itself; give another name")
    with Client(args.server, args.name, args.timeout, args.tls, _read_ca(args.ca)) as client:
        write_photo(args.output, restore_photo(client, photo, args.level))
    return 0


if __name__ == "__main__":
    sys.exit(main())
