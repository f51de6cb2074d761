"""Fixtures of the tests of served models."""

import socket
from concurrent import futures

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def denoiser():
    import keras

    from tests.helpers.served import make_denoiser

    keras.utils.set_random_seed(0)
    return make_denoiser()


@pytest.fixture(scope="session")
def saved_denoiser(denoiser, tmp_path_factory):
    """(the SavedModel, its folder)."""
    import tensorflow as tf

    from rnan_tf.export.saved_model.graph import ServingGraph
    from rnan_tf.restoring.card import card_of
    from tests.helpers.served import LIMIT, TILING

    folder = tmp_path_factory.mktemp("served") / "rnan" / "1"
    folder.parent.mkdir()
    ServingGraph(denoiser, card_of(denoiser, "denoise"), TILING, LIMIT).save(folder)
    return tf.saved_model.load(str(folder)), folder


@pytest.fixture
def photo(tmp_path):
    """A colour photograph with transparency."""
    from rnan_tf.photos.photo import Photo, write_photo
    from tests.helpers.served import PHOTO

    alpha = np.linspace(0, 255, PHOTO.shape[0] * PHOTO.shape[1]).reshape(PHOTO.shape[:2]).astype(np.uint8)
    write_photo(tmp_path / "photo.png", Photo(PHOTO, alpha, None, "PNG"))
    return tmp_path / "photo.png"


@pytest.fixture
def phone_photo(tmp_path):
    """A JPEG whose EXIF data says that it lies on its side."""
    from tests.helpers.served import PHOTO

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "phone.jpg", quality=90, exif=exif)
    return tmp_path / "phone.jpg"


@pytest.fixture
def free_port():
    """A port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def grpc_server(saved_denoiser):
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    from tests.helpers.model_server import Service

    service = Service(saved_denoiser)
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=limits)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None).wait(10)


@pytest.fixture
def service(grpc_server, monkeypatch):
    from export.serving import client_grpc, client_rest

    monkeypatch.setattr(client_grpc, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(client_rest, "FIRST_WAIT", 0.01)
    grpc_server.unavailable = grpc_server.delay = grpc_server.calls = 0
    return grpc_server
