"""training/data_workers.py: real processes degrade the patches; losing one of them does no harm."""

import os
import re
import signal
import time

import numpy as np
import pytest
from PIL import Image

from rnan_tf.errors import InputError
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.tasks.task import TASKS
from rnan_tf.training.data_service import check_address, store_photographs
from rnan_tf.training.patches import PatchSpec

DEADLINE = 600


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
    process = start_python(output, "training/data_workers.py", "--workers", 2)
    text = wait_until(lambda: re.search(r"--data-service (\S+)\nworkers: (\d+) (\d+)\n", output.read_text()), process)
    return process, text[1], [int(text[2]), int(text[3])]


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
    "address", ["localhost:5050", "grpc://localhost", "grpc://localhost:1", "grpc://localhost:99999"]
)
def test_an_address_without_a_service_is_named(address):
    with pytest.raises(InputError, match=address) as caught:
        check_address(address)
    assert "\n" not in str(caught.value)
