"""The configuration files of the server: its own parser reads them, and they name what there is."""

import re
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from export.serving import client_grpc, client_rest
from tests.helpers.model_server import SERVING


def message_class(name, fields):
    """Make a message class from (name, type or class) pairs; a field's number plays no part in the text format."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test", syntax="proto3")
    field_types = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields, 1):
        made = message.field.add(name=field, number=number, label=field_types.LABEL_OPTIONAL)
        if isinstance(kind, int):
            made.type = kind
        else:
            made.type, made.type_name = field_types.TYPE_MESSAGE, f".{kind.DESCRIPTOR.full_name}"
            if kind.DESCRIPTOR.file.name not in file.dependency:
                file.dependency.append(kind.DESCRIPTOR.file.name)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def test_models_config():
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((SERVING / "models.config").read_text(), config)
    (served,) = config.model_config_list.config
    assert (served.name, served.base_path, served.model_platform) == ("rnan", "/models/rnan", "tensorflow")
    for client in (client_grpc, client_rest):
        assert '"--name", default="rnan"' in Path(client.__file__).read_text()


def test_batching_and_monitoring_parameters():
    # Their messages are not in the package: session_bundle_config.proto and monitoring_config.proto of the server.
    number, boolean = wrappers_pb2.Int64Value, wrappers_pb2.BoolValue
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    fields = [*((name, number) for name in (*names, "max_execution_batch_size"))]
    batching = message_class("BatchingParameters", [*fields, ("enable_large_batch_splitting", boolean)])()
    text_format.Parse((SERVING / "batching_parameters.txt").read_text(), batching)
    assert batching.max_execution_batch_size.value == 1  # images of different sizes cannot be joined
    assert batching.enable_large_batch_splitting.value
    assert batching.max_batch_size.value >= batching.max_execution_batch_size.value
    types = descriptor_pb2.FieldDescriptorProto
    prometheus = message_class("PrometheusConfig", [("enable", types.TYPE_BOOL), ("path", types.TYPE_STRING)])
    monitoring = message_class("MonitoringConfig", [("prometheus_config", prometheus)])()
    text_format.Parse((SERVING / "monitoring.config").read_text(), monitoring)
    assert monitoring.prometheus_config.enable


def test_compose_file_names_files_that_exist():
    text = (SERVING / "docker-compose.yml").read_text()
    named = re.findall(r"=/config/(\S+)", text)
    assert len(named) == 3 and all((SERVING / name).is_file() for name in named)
    assert ".:/config:ro" in text and ":/models:ro" in text
