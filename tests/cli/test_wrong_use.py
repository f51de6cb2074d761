"""The command `rnan-tf` used wrongly: one line that says what to change, exit code 2, and no file made."""

import importlib.util
import os
import pathlib

import keras
import pytest

from tests.helpers.command_line import save
from tests.helpers.reference import REFERENCE

NEEDS_TORCH = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


class TestWrongUse:
    @pytest.mark.parametrize(
        "line, parts",
        [
            ("", ["arguments are required", "rnan-tf --help"]),
            ("improve a.png", ["'improve'", "rnan-tf --help"]),
            ("restore a.png --model M/jpeg.keras", ["-o", "rnan-tf restore --help"]),
            ("restore a.png -o out", ["--model"]),
            ("restore a.png -o out --model M/jpeg.keras --task dehaze", ["'dehaze'", "denoise"]),
            ("restore a.png -o out --model M/demosaic.keras --cfa XTRANS", ["'XTRANS'", "GRBG"]),
            ("restore a.png -o out --model M/jpeg.keras --tile many", ["--tile", "'many'"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 8", ["--tile", "multiple of 4", "got 8"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 130", ["--tile", "got 130"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap 68", ["--overlap", "half the tile (64)", "got 68"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap -4", ["--overlap", "got -4"]),
            ("restore missing.png -o out --model M/jpeg.keras", ["missing.png: no such file"]),
            ("restore missing/ -o out --model M/jpeg.keras", ["missing/: no such file or folder"]),
            ("restore empty -o out --model M/jpeg.keras", ["empty: no image found"]),
            ("restore *.webp -o out --model M/jpeg.keras", ["*.webp: no image found"]),
            ("restore a.png -o a.png --model M/jpeg.keras", ["a.png", "written over", "another place"]),
            ("restore sub -o sub --model M/jpeg.keras", ["sub/a.png", "written over"]),
            ("restore a.png -o link.png --model M/jpeg.keras", ["link.png", "written over"]),
            ("restore a.png sub/a.png -o out --model M/jpeg.keras", ["two photographs", "out/a.png"]),
            ("restore a.png sub/b.png -o b.png --model M/jpeg.keras", ["b.png is one file", "2 photographs"]),
            ("restore a.png -o b.gif --model M/jpeg.keras", ["b.gif", ".png"]),
            ("restore a.png -o out --model none.keras", ["none.keras: no such model"]),
            ("restore a.png -o out --model empty", ["empty: no best.keras"]),
            ("restore a.png -o out --model a.png", ["a.png: not a .keras file"]),
            ("restore a.png -o out --model text.keras", ["text.keras: not a Keras model"]),
            ("restore a.png -o out --model other.keras", ["other.keras", "not an RNAN"]),
            ("restore a.png -o out --model M/jpeg.keras --task demosaic", ["trained for task jpeg, not demosaic"]),
            ("restore a.png -o out --model M/denoise.keras --level 61", ["trained for level 5 to 60, not 61"]),
            ("restore a.png -o out --model M/denoise.keras --level 4", ["trained for level 5 to 60, not 4"]),
            ("restore a.png -o out --model M/denoise.keras --level 10-30", ["a single level"]),
            ("restore a.png -o out --model M/denoise.keras --level strong", ["'strong'", "noise sigma", "0 to 75"]),
            ("restore a.png -o out --model M/denoise.keras --level nan", ["'nan'"]),
            ("restore a.png -o out --model M/denoise.keras --level -5", ["'-5'", "0 to 75"]),
            ("restore a.png -o out --model M/denoise-gray.keras --level 50", ["trained for level 30, not 50"]),
            ("restore a.png -o out --model M/demosaic.keras --level 5", ["no level"]),
            ("restore a.png -o out --model M/sr.keras --level 3", ["trained for level 2, not 3"]),
            ("evaluate --task dehaze --data sub", ["'dehaze'", "demosaic"]),
            ("evaluate --task jpeg --level 101 --data sub", ["'101'", "JPEG quality", "1 to 100"]),
            ("evaluate --task jpeg --level 10-20 --data sub", ["single level"]),
            ("evaluate --task demosaic --level 3 --data sub", ["no level"]),
            ("evaluate --task jpeg-color --level 10.5 --data sub", ["'10.5'", "whole number"]),
            ("evaluate --task jpeg-color --subsampling 4:1:1 --data sub", ["'4:1:1'", "4:2:0"]),
            ("evaluate --task jpeg --subsampling 4:2:0 --data sub", ["task jpeg", "leave --subsampling out"]),
            ("restore a.png -o out --task jpeg-color", ["no network called jpeg-color is bundled", "give --model"]),
            ("evaluate --task denoise --level 30 --data missing", ["missing: no such file or folder"]),
            ("evaluate --task denoise --level 30 --data empty", ["empty: no image found"]),
            ("evaluate --task denoise --level 30 --data text.png", ["text.png: is not a PNG"]),
            ("evaluate --task denoise --level 70 --data sub --model M/denoise.keras", ["5 to 60, not 70"]),
            ("evaluate --task denoise --level 30 --data sub --model M/jpeg.keras", ["trained for task jpeg"]),
            ("evaluate --task denoise --level 30 --data sub --tile 3", ["--tile"]),
            ("evaluate --task denoise --level 30 --data sub --self-ensemble", ["--self-ensemble needs --model"]),
            ("evaluate --task denoise --level 30 --data sub --json sub/a.png", ["sub/a.png", "written over"]),
            ("convert missing.npz m.keras", ["missing.npz: no such file"]),
            ("convert text.npz m.keras", ["text.npz: not a readable .npz file"]),
            pytest.param("convert text.pt m.keras", ["text.pt: not a PyTorch state_dict"], marks=NEEDS_TORCH),
            ("convert text.npz m.h5", ["m.h5", ".keras"]),
            ("convert text.npz m.keras --level 3", ["--level needs --task"]),
            ("convert text.npz m.keras --task denoise", ["give --level"]),
            ("convert R/restore_rgb_f16_g3.npz m.keras --task jpeg --level 10", ["3 image channels"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task sr --level 3", ["enlarges by 2, not by 3"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task demosaic", ["enlarges by 2"]),
            ("info missing.keras", ["missing.keras: no such model"]),
            ("info text.keras", ["text.keras: not a Keras model"]),
        ],
    )
    def test_one_line_and_exit_code_2(self, refused, line, parts):
        save("a.png")
        save("sub/a.png")
        save("sub/b.png")
        os.symlink("a.png", "link.png")
        os.mkdir("empty")
        for name in ("text.png", "text.npz", "text.pt", "text.keras"):
            pathlib.Path(name).write_text("nothing of the kind")
        if "other.keras" in line:
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save("other.keras")
        refused(line.replace("R/", f"{REFERENCE}/"), 2, *parts)
        assert not os.path.exists("out")
