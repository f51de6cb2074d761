"""The command `rnan-tf restore` where it cannot write, or is interrupted: one line, and what was finished is kept."""

import os
import pathlib
import resource

import numpy as np
import pytest

from rnan_tf.restoring import restorer
from tests.helpers.command_line import save


class TestWritingFails:
    def test_no_space(self, rnan_tf):
        """The second photograph is too large for the disk (here: for the largest file allowed)."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        save("a.png")
        save("b.png", np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        save("c.png")
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            code, _, err = rnan_tf("restore a.png b.png c.png -o out --model M/jpeg.keras")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert code == 1 and sorted(os.listdir("out")) == ["a.png", "c.png"]
        assert len(err) == 2 and err[0].startswith("skipped: out/b.png: cannot be written") and "space left" in err[0]

    def test_interrupted(self, rnan_tf, monkeypatch):
        """Ctrl-C in the second photograph: the first one is kept."""
        for name in ("a.png", "b.png", "c.png"):
            save(name)
        restore_photo = restorer.restore_photo
        calls = []

        def interrupted(*args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return restore_photo(*args, **kwargs)

        monkeypatch.setattr(restorer, "restore_photo", interrupted)
        code, _, err = rnan_tf("restore a.png b.png c.png -o out --model M/jpeg.keras")
        assert (code, err, os.listdir("out")) == (
            130,
            [
                "error: interrupted; 1 of 3 photographs are done; "
                "give the same command with --skip-existing for the others"
            ],
            ["a.png"],
        )

    @pytest.mark.parametrize("output", ["file/x.png", "file/folder", "file/"])
    def test_a_path_below_a_file(self, refused, output):
        save("a.png")
        pathlib.Path("file").touch()
        refused(f"restore a.png -o {output} --model M/jpeg.keras", 1, "the folder cannot be made", "name another place")

    def test_no_permission(self, refused, monkeypatch):
        save("a.png")
        os.mkdir("closed")
        monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("closed"))
        refused("restore a.png -o closed --model M/jpeg.keras", 1, "closed: no permission to write")
