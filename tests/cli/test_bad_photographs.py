"""The command `rnan-tf restore` given photographs that it cannot restore: a line for each, and the others restored."""

import os
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from rnan_tf.quiet import import_tensorflow
from rnan_tf.restoring import restorer
from tests.helpers.command_line import RGB, save, to16


def bad_text(path):
    path.write_text("This is no photograph.")


def bad_truncated(path):
    save(path, np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-400])


def bad_cmyk(path):
    Image.fromarray(RGB).convert("CMYK").save(path)


def bad_gif(path):
    frames = [Image.fromarray(RGB[..., i]) for i in range(3)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def bad_bomb(path):
    """A small PNG that claims 30,000 x 30,000 pixels."""
    save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


def bad_float(path):
    tifffile.imwrite(path, RGB.astype(np.float32), photometric="rgb")


def bad_empty(path):
    path.touch()


BAD_FILES = [
    ("a.png", bad_text, "is not a PNG, JPEG, TIFF, BMP, WebP, AVIF or HEIC image"),
    ("a.png", bad_truncated, "cut short"),
    ("a.jpg", bad_truncated, "cannot be decoded"),
    ("a.jpg", bad_cmyk, "CMYK"),
    ("a.tif", bad_cmyk, "CMYK"),
    ("a.gif", bad_gif, "still images"),
    ("a.png", bad_gif, "still images"),
    ("a.png", bad_bomb, "30000 x 30000 pixels"),
    ("a.tif", bad_float, "32-bit float"),
    ("a.png", bad_empty, "is empty"),
]


class TestBadPhotographs:
    @pytest.mark.parametrize("name, make, message", BAD_FILES)
    def test_is_reported_and_skipped(self, rnan_tf, workplace, name, make, message):
        make(workplace / name)
        for good in ("0.png", "z.png"):
            save(good)
        code, _, err = rnan_tf(f"restore 0.png {name} z.png -o out --model M/jpeg.keras")
        assert code == 1 and sorted(os.listdir("out")) == ["0.png", "z.png"]
        assert len(err) == 2 and err[0].startswith(f"skipped: {name}") and message in err[0]
        assert err[1] == "error: 1 of 3 photographs could not be restored"

    @pytest.mark.parametrize("name, make, message", BAD_FILES[:2])
    def test_alone(self, refused, workplace, name, make, message):
        make(workplace / name)
        refused(f"restore {name} -o out --model M/jpeg.keras", 1, f"error: {name}", message)

    def test_a_format_that_cannot_hold_it(self, rnan_tf):
        save("a.png", np.dstack([RGB, RGB[..., 0]]))
        save("b.png", to16(RGB[..., 0]))
        for name, what in (("a", "transparency"), ("b", "16")):
            code, _, err = rnan_tf(f"restore {name}.png -o new.jpg --model M/jpeg.keras")
            assert code == 1 and len(err) == 1 and what in err[0] and ".png" in err[0]
        assert sorted(os.listdir()) == ["a.png", "b.png"]

    def test_no_mosaic(self, refused):
        save("a.png")
        refused("restore a.png -o b.png --model M/demosaic.keras", 1, "a.png: not a GRBG mosaic", "the right --cfa")

    @pytest.mark.parametrize("error", [MemoryError(), "tensorflow"])
    def test_out_of_memory(self, refused, monkeypatch, error):
        if error == "tensorflow":
            error = import_tensorflow().errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith ..")

        def restore_photo(*args, **kwargs):
            raise error

        save("a.png")
        monkeypatch.setattr(restorer, "restore_photo", restore_photo)
        refused("restore a.png -o b.png --model M/jpeg.keras", 1, "a.png: out of memory", "smaller --tile than 64")

    def test_a_mistake_of_ours_is_not_hidden(self, rnan_tf, monkeypatch):
        save("a.png")
        monkeypatch.setattr(restorer, "restore_photo", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rnan_tf("restore a.png -o b.png --model M/jpeg.keras")
