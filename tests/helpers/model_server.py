"""What the clients see of TensorFlow Serving: the official gRPC stubs, and REST as its documentation has it.

Both run the exported model in this process; TensorFlow Serving itself does not run here.
"""

import base64
import contextlib
import http.server
import json
import time
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from export.serving import client_grpc

SERVING = Path(client_grpc.__file__).parent  # the clients and the server's configuration files


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """PredictionService as TensorFlow Serving answers it, for the model `rnan`; `echo` returns its input."""

    def __init__(self, saved):
        self.model, self.folder = saved
        self.unavailable, self.delay, self.calls = 0, 0, 0

    def Predict(self, request, context):
        self.calls += 1
        if self.unavailable:  # looked at first: a request that its client gave up on must not take another test's
            self.unavailable -= 1
            time.sleep(self.delay)
            context.abort(grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
        time.sleep(self.delay)
        response = predict_pb2.PredictResponse()
        if request.model_spec.name == "echo":
            response.outputs["image_bytes"].CopyFrom(request.inputs["image_bytes"])
            return response
        function = self.model.signatures[request.model_spec.signature_name]
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        try:
            outputs = function(**inputs)
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

    def GetModelMetadata(self, request, context):
        if request.model_spec.name != "rnan":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request.model_spec.name}")
        file = (self.folder / "saved_model.pb").read_bytes()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in saved_model_pb2.SavedModel.FromString(file).meta_graphs[0].signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(signatures)
        return response


class RestHandler(http.server.BaseHTTPRequestHandler):
    """The predict API in row format, as tensorflow_serving/g3doc/api_rest.md has it."""

    def do_POST(self):
        service = self.server.service
        service.calls += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if service.unavailable:
            service.unavailable -= 1
            time.sleep(service.delay)
            return self.answer(503, {"error": "The batch scheduling queue is full"})
        time.sleep(service.delay)
        if self.path != "/v1/models/rnan:predict":
            return self.answer(404, {"error": "Servable not found for request: Latest(other)"})
        request = json.loads(body)
        function = service.model.signatures[request["signature_name"]]
        try:
            outputs = function(**self.columns(request["instances"], function.structured_input_signature[1]))
        except tf.errors.InvalidArgumentError as error:
            return self.answer(400, {"error": error.message})
        except LookupError as error:
            return self.answer(400, {"error": str(error)})
        ((name, values),) = outputs.items()
        assert name.endswith("_bytes")  # that is how the server knows that they are not text
        return self.answer(200, {"predictions": [{"b64": base64.b64encode(v).decode()} for v in values.numpy()]})

    def columns(self, instances, inputs):
        plain = [set(row) == {"b64"} for row in instances]
        if any(plain) and len(inputs) > 1:
            raise LookupError("instances is a plain list, but expecting list of objects")
        rows = [{next(iter(inputs)): row} if is_plain else row for row, is_plain in zip(instances, plain, strict=True)]
        columns = {name: [row[name] for row in rows] for name in inputs}
        for name, spec in inputs.items():
            if spec.dtype == tf.string:
                columns[name] = [base64.b64decode(value["b64"], validate=True) for value in columns[name]]
            columns[name] = tf.constant(columns[name], spec.dtype)
        return columns

    def answer(self, status, content):
        data = json.dumps(content, indent=4).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that waits no longer
            self.wfile.write(data)

    def log_message(self, *_):
        pass
