"""Serve an exported SavedModel without TensorFlow Serving, by KServe: `python kserve_server.py models/rnan`.

It needs `pip install kserve tensorflow` and this file alone. It answers TensorFlow Serving's REST form, in rows, which
client_rest.py and client_curl.sh speak; KServe's gRPC is a protocol of its own and stays off. It listens on every
address of the machine, without encryption, as TensorFlow Serving does.
"""

import argparse
import asyncio
import base64
import sys
import threading
from pathlib import Path
from typing import Any

try:
    import kserve
    import tensorflow as tf
    from kserve.errors import InvalidInput
except ImportError as missing:
    sys.exit(f"error: {missing.name} not installed: pip install kserve tensorflow")


class ServedModel(kserve.Model):
    """A SavedModel behind `/v1/models/NAME:predict`.

    Args:
        name: that it is asked for by.
        folder: of one version.
    """

    def __init__(self, name: str, folder: Path):
        super().__init__(name)
        self._saved = tf.saved_model.load(str(folder))
        self._turn = threading.Lock()  # one request has the cores and the memory at a time
        self.ready = True

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, list]:
        """Answer a request.

        Args:
            payload: {"signature_name": ..., "instances": [...]}; files as {"b64": ...}.
            headers: of the request.

        Returns:
            {"predictions": [...]}, in the order of the instances.

        Raises:
            InvalidInput: the request or an image is not what the model takes.
        """
        return await asyncio.to_thread(self._predict, payload)

    def _predict(self, payload):
        if not isinstance(payload, dict) or not isinstance(payload.get("instances"), list):
            raise InvalidInput('expecting a JSON object with a list of "instances"')
        name = payload.get("signature_name", "serving_default")
        if name not in self._saved.signatures:
            raise InvalidInput(f"no signature {name}; there are {', '.join(sorted(self._saved.signatures))}")
        function = self._saved.signatures[name]
        try:
            inputs = _to_columns(payload["instances"], function.structured_input_signature[1])
            with self._turn:
                ((output, values),) = function(**inputs).items()
        except tf.errors.InvalidArgumentError as error:  # what the graph refuses
            raise InvalidInput(error.message) from error
        if output.endswith("_bytes"):  # TensorFlow Serving's rule, too
            return {"predictions": [{"b64": base64.b64encode(value).decode()} for value in values.numpy()]}
        return {"predictions": values.numpy().tolist()}


def _to_columns(rows, specs):
    """Turn instances into a signature's inputs: {name: tensor}. A lone input may do without its name."""
    columns = {}
    for name, spec in specs.items():
        try:
            values = [row[name] if isinstance(row, dict) and name in row else _lone(row, specs) for row in rows]
            if spec.dtype == tf.string:
                values = [base64.b64decode(value["b64"], validate=True) for value in values]
            columns[name] = tf.constant(values, spec.dtype)
        except (ValueError, TypeError, LookupError) as error:
            reason = str(error).splitlines()[0]
            wanted = ", ".join(sorted(specs))
            raise InvalidInput(f"instances must be objects with {wanted}; {name}: {reason}") from error
    return columns


def _lone(row, specs):
    if len(specs) > 1:
        raise LookupError("missing")
    return row


def newest_version(folder: Path) -> Path:
    """Return the newest version of a SavedModel.

    Args:
        folder: of its versions, as `rnan-tf export saved-model` writes them.

    Raises:
        FileNotFoundError: there is none.
    """
    versions = [file.parent for file in folder.glob("*/saved_model.pb") if file.parent.name.isdecimal()]
    if not versions:
        raise FileNotFoundError(f"{folder}: no version of a SavedModel in it; give the --output of the export")
    return max(versions, key=lambda version: int(version.name))


def main() -> int:
    """Read the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(description="Serve an exported SavedModel by KServe's server.")
    parser.add_argument("folder", type=Path, help="of the model's versions, such as models/rnan")
    parser.add_argument("--name", help="the model is /v1/models/NAME; default: the folder's name")
    parser.add_argument("--port", type=int, default=8501, help="default: %(default)s")
    args = parser.parse_args()
    try:
        version = newest_version(args.folder)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        model = ServedModel(args.name or args.folder.resolve().name, version)
    except Exception as error:  # TensorFlow raises whatever a damaged file leads to
        print(f"error: {version}: cannot be loaded ({str(error).splitlines()[0]}); export it again", file=sys.stderr)
        return 2
    kserve.ModelServer(http_port=args.port, enable_grpc=False).start([model])
    return 0


if __name__ == "__main__":
    sys.exit(main())
