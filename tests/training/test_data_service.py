"""training/data_workers.py: real processes degrade the patches; losing one of them does no harm."""

import os
import re
import signal
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.task import TASKS
from rnan_tf.training import open_ports
from rnan_tf.training.data_service import check_address, store_photographs
from rnan_tf.training.patches import PatchSpec
from training import data_workers

DEADLINE = 600
PRIVATE = "--i-know-this-network-is-private"


def wait_until(condition, process):
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return found


@pytest.fixture
def service(start_python, tmp_path):
    """(process, address, numbers of two worker processes)."""
    output = tmp_path / "service"
    process = start_python(output, "training/data_workers.py", "--workers", 2, PRIVATE)
    text = wait_until(lambda: re.search(r"--data-service (\S+)\nworkers: (\d+) (\d+)\n", output.read_text()), process)
    return process, text[1], [int(text[2]), int(text[3])]


@pytest.mark.slow
def test_a_run_outlives_one_of_two_data_workers(start_python, service, photographs, tmp_path):
    process, address, workers = service
    flags = ["--model", "rnan_lite", "--batch-size", "4", "--patch-size", "16", "--steps", "60"]
    where = ["--data", photographs, "--run-dir", tmp_path / "run", "--data-service", address]
    training = start_python(tmp_path / "output", "tests/helpers/workers.py", 1, tmp_path / "log", *flags, *where)
    losses = tmp_path / "log.losses"
    wait_until(lambda: losses.exists() and len(losses.read_text().splitlines()) >= 5, training)
    os.kill(workers[0], signal.SIGKILL)
    assert training.wait(DEADLINE) == 0
    values = [float(line) for line in losses.read_text().splitlines()]
    assert len(values) == 60
    assert len(set(values)) == 60
    assert f"worker {workers[0]} ended" in (tmp_path / "service").read_text()

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(workers[1], 0)


def test_photographs_are_stored_as_the_tasks_clean_images_once(photographs, tmp_path, capsys):
    spec = PatchSpec(TASKS["denoise-gray"], (25, 25), 16, 0)
    files = sorted(photographs.iterdir())
    Image.new("RGB", (90, 15)).save(tmp_path / "low.png")
    (tmp_path / "damaged.png").write_bytes(files[0].read_bytes()[:500])
    folder = tmp_path / "stored"
    store_photographs([files[0], tmp_path / "low.png", tmp_path / "damaged.png", files[1]], spec, folder)
    assert [file.name for file in sorted(folder.iterdir())] == ["000000.png", "000001.png"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(folder / "000001.png"))[..., None], read_clean(files[1], spec.task)
    )
    errors = capsys.readouterr().err
    assert "low.png" in errors
    assert "damaged.png" in errors
    store_photographs(files, spec, folder)
    assert len(list(folder.iterdir())) == 2
    with pytest.raises(InputError, match="none of 1 photographs"):
        store_photographs([tmp_path / "low.png"], spec, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    "address",
    ["localhost:5050", "grpc://localhost", "grpc://localhost:1", "grpc://localhost:99999", "grpc://a..b:50"],
)
def test_an_address_without_a_service_is_named(address):
    with pytest.raises(InputError, match=address) as caught:
        check_address(address)
    assert "\n" not in str(caught.value)


def test_ports_that_strangers_can_reach_are_opened_only_when_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(open_ports, "reachable_addresses", lambda: ["10.0.0.1", "fe80::1%eth0"])
    assert data_workers.main(["--workers", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "10.0.0.1, fe80::1%eth0" in line and "run TensorFlow graphs with your rights" in line and PRIVATE in line
    open_ports.check_ports_are_private(i_know_this_network_is_private=True)
    monkeypatch.setattr(open_ports, "reachable_addresses", list)
    open_ports.check_ports_are_private(i_know_this_network_is_private=False)


def test_a_machine_is_reached_by_the_interfaces_that_are_up(monkeypatch):
    def entry(address):
        return SimpleNamespace(address=address)

    interfaces = {
        "lo": [entry("127.0.0.1"), entry("::1"), entry("00:00:00:00:00:00")],
        "eth0": [entry("192.0.2.7"), entry("fe80::1%eth0"), entry("02:42:ac:11:00:02")],
        "eth1": [entry("198.51.100.7")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {n: SimpleNamespace(isup=n != "eth1") for n in interfaces})
    assert open_ports.reachable_addresses() == ["192.0.2.7", "fe80::1%eth0"]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": interfaces["lo"]})
    assert open_ports.reachable_addresses() == []


def test_tensorflow_listens_on_all_interfaces_whatever_it_is_told(service):
    """Why the ports need a word of the user's: should TensorFlow learn to bind, `check_ports_are_private` can go."""
    process, address, _ = service
    listening = {
        connection.laddr.port: connection.laddr.ip
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert address.startswith("grpc://localhost:")
    assert listening[int(address.rpartition(":")[2])] in ("::", "0.0.0.0")
