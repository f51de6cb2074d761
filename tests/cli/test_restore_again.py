"""The command `rnan-tf restore` stopped and given again, and given a pipe."""

import csv
import io
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from rnan_tf.photos import photo as photos
from rnan_tf.restoring import restorer
from tests.helpers.command_line import RGB, save

MODEL = "--model M/denoise.keras --sigma 30"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if path.is_file())


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick(monkeypatch):
    """A restoration that takes no time."""
    monkeypatch.setattr(restorer, "restore_photo", lambda photo, *args, **kwargs: photo)


@pytest.mark.usefixtures("quick")
class TestAgain:
    @pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0"])
    def test_no_shard(self, refused, shard):
        save("a.png")
        refused(f"restore a.png -o out {MODEL} --shard {shard}", 2, "--shard", shard)

    def test_the_report_of_a_run_that_goes_on_is_appended_to(self, rnan_tf):
        save("in/a.png")
        assert rnan_tf(f"restore in -o out {MODEL} --report r.csv")[0] == 0
        save("in/b.png")
        assert rnan_tf(f"restore in -o out {MODEL} --report r.csv --skip-existing")[0] == 0
        assert [row["file"] for row in rows("r.csv")] == ["in/a.png", "in/b.png"]
        assert rnan_tf(f"restore in -o out {MODEL} --report r.csv")[0] == 0
        assert len(rows("r.csv")) == 2

    def test_a_report_over_a_photograph(self, refused):
        save("in/a.png")
        refused(f"restore in -o out {MODEL} --report in/a.png", 2, "in/a.png", "written over")

    def test_a_format_and_a_file_of_another(self, refused):
        save("a.png")
        refused(f"restore a.png -o b.png {MODEL} --format jpg", 2, "b.png is no .jpg file", "--format")

    def test_interrupted_it_says_how_to_go_on(self, rnan_tf, monkeypatch):
        for name in ("in/a.png", "in/b.png", "in/c.png"):
            save(name)
        calls = []

        def restore_photo(photo, *args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return photo

        monkeypatch.setattr(restorer, "restore_photo", restore_photo)
        code, _, err = rnan_tf(f"restore in -o out {MODEL}")
        assert code == 130 and files("out") == ["a.png"]
        assert len(err) == 1 and "1 of 3 photographs are done" in err[0] and "--skip-existing" in err[0]
        assert rnan_tf(f"restore in -o out {MODEL} --skip-existing")[0] == 0
        assert files("out") == ["a.png", "b.png", "c.png"] and len(calls) == 4


class Stream(io.TextIOWrapper):
    def __init__(self, data=b"", terminal=False):
        super().__init__(io.BytesIO(data), write_through=True)
        self.isatty = lambda: terminal


class TestPipes:
    @pytest.mark.usefixtures("quick")
    def test_standard_input_to_a_file(self, rnan_tf, monkeypatch):
        save("a.png")
        monkeypatch.setattr(sys, "stdin", Stream(pathlib.Path("a.png").read_bytes()))
        assert rnan_tf(f"restore - -o b.tif {MODEL}")[0] == 0
        np.testing.assert_array_equal(photos.read_photo("b.tif").pixels, RGB)

    @pytest.mark.parametrize(
        "data, terminal, parts",
        [(b"", False, "standard input: is empty"), (b"text", False, "is not a PNG"), (b"", True, "is a terminal")],
    )
    def test_no_photograph_on_standard_input(self, refused, monkeypatch, data, terminal, parts):
        monkeypatch.setattr(sys, "stdin", Stream(data, terminal))
        refused(f"restore - -o b.png {MODEL}", 1, parts)

    @pytest.mark.parametrize(
        "line, part",
        [
            ("- a.png -o out", "one photograph"),
            ("- -o out/", "out/ is a folder"),
            ("a.png b.png -o -", "2 photographs"),
        ],
    )
    def test_wrong_use(self, refused, line, part):
        save("a.png")
        save("b.png")
        refused(f"restore {line} {MODEL}", 2, part)


def test_a_killed_run_leaves_only_whole_files(workplace, models):
    """Killed while it works, and started again."""
    for number in range(40):
        save(f"in/{number:02}.png", np.tile(RGB, (4, 4, 1)))
    line = f"restore in -o out --model {models}/denoise.keras --sigma 30 --skip-existing".split()
    process = subprocess.Popen([sys.executable, "-u", "-m", "rnan_tf.cli", *line], stdout=subprocess.PIPE, text=True)
    for text in process.stdout:
        if text.startswith("[4/"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = [name for name in files("out") if not os.path.basename(name).startswith(".rnan-tf-")]
    assert 3 <= len(done) < 40
    assert all(photos.read_photo(f"out/{name}").pixels.shape[0] == 4 * RGB.shape[0] for name in done)
