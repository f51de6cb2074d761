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
            ("restore a.png -o out --sigma 5 --quality 30", ["task denoise has no --quality", "give its --sigma"]),
            ("restore a.png -o out --blend 2", ["--blend", "number from 0 to 1", "'2'"]),
            ("restore a.png -o out --model M/demosaic.keras --blend 0.5", ["mosaics cannot be mixed", "--blend"]),
            ("restore a.png -o out --jpeg-quality 101", ["--jpeg-quality", "number from 1 to 100"]),
            ("restore a.png -o out --max-pixels 0", ["--max-pixels", "'0'"]),
            ("restore a.png -o out --format gif", ["--format", "'gif'", "png"]),
            ("restore a.png -o b.png --format jpg", ["b.png is no .jpg file", "leave --format out"]),
            ("restore sub -o out --shard 3/2", ["--shard", "part such as 1/4", "'3/2'"]),
            ("restore sub -o out --shard half", ["--shard", "'half'"]),
            ("restore - a.png -o out --model M/jpeg.keras", ["- is standard input, one photograph"]),
            ("restore - -o out --model M/jpeg.keras", ["-o out is a folder", "name a file, or -"]),
            ("restore sub -o - --model M/jpeg.keras", ["-o - is one file, but there are 2 photographs"]),
            ("restore sub -o out --report sub/a.png", ["sub/a.png", "written over"]),
            ("restore sub -o out --quality 0", ["--quality must be a whole number from 1 to 100; got '0'"]),
            ("restore sub -o out --task jpeg --quality 0", ["--quality must be", "got '0'"]),
            ("restore sub -o out --task jpeg --sigma 5", ["task jpeg has no --sigma", "give its --quality"]),
            ("restore sub -o out --white-balance 0,1,1", ["--white-balance must be three gains above 0"]),
            ("restore sub -o out --tile 32 --fast", ["--fast networks have a fixed size; leave --tile"]),
            ("restore sub -o out --overlap 8 --fast", ["--fast networks have a fixed size; leave --tile"]),
            ("restore sub -o out --precision bfloat16 --fast", ["the precision of --fast networks is fixed"]),
            ("restore sub -o out --linear", ["no photograph is a raw one; leave --linear out"]),
            ("restore a.png -o out --white-balance 2,1,1", ["is a raw one; leave --white-balance out"]),
            ("restore a.png -o out --report -", ["--report - is no file's name"]),
            ("restore a.png -o b.png --report ./b.png", ["--report ./b.png is where a result goes"]),
            ("restore sub -o out --report out/b.png", ["--report out/b.png is where a result goes"]),
            ("restore a.png -o out --model M/jpeg.keras --task dehaze", ["'dehaze'", "denoise"]),
            ("restore a.png -o out --model M/demosaic.keras --cfa XTRANS", ["'XTRANS'", "GRBG"]),
            ("restore a.png -o out --model M/jpeg.keras --tile many", ["--tile", "'many'"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 8", ["--tile", "multiple of 4", "got 8"]),
            ("restore a.png -o out --model M/jpeg.keras --tile 130", ["--tile", "got 130"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap 68", ["--overlap", "half the tile (48)", "got 68"]),
            ("restore a.png -o out --model M/jpeg.keras --overlap -4", ["--overlap", "got -4"]),
            ("restore missing.png -o out --model M/jpeg.keras", ["missing.png: no such file"]),
            ("restore missing/ -o out --model M/jpeg.keras", ["missing/: no such file or folder"]),
            ("restore empty -o out --model M/jpeg.keras", ["empty: no image found", ".png", ".heic", ".dng"]),
            ("restore *.webp -o out --model M/jpeg.keras", ["*.webp: no image found"]),
            ("restore a.png -o a.png --model M/jpeg.keras", ["a.png", "written over", "another place"]),
            ("restore sub -o sub --model M/jpeg.keras", ["sub/a.png", "written over"]),
            ("restore a.png -o link.png --model M/jpeg.keras", ["link.png", "written over"]),
            ("restore a.png sub/b.png -o b.png --model M/jpeg.keras", ["b.png is one file", "2 photographs"]),
            ("restore a.png -o b.gif --model M/jpeg.keras", ["b.gif", ".png"]),
            ("restore a.png -o out --model none.keras", ["none.keras: no such model"]),
            ("restore a.png -o out --model empty", ["empty: no best.keras"]),
            ("restore a.png -o out --model a.png", ["a.png: not a .keras file"]),
            ("restore a.png -o out --model text.keras", ["text.keras: not a Keras model"]),
            ("restore a.png -o out --model other.keras", ["other.keras", "not an RNAN"]),
            ("restore a.png -o out --model M/jpeg.keras --task demosaic", ["trained for task jpeg, not demosaic"]),
            ("restore a.png -o out --model M/denoise.keras --sigma 61", ["trained for sigma 5 to 60, not 61"]),
            ("restore a.png -o out --model M/denoise.keras --sigma 4", ["trained for sigma 5 to 60, not 4"]),
            (
                "restore a.png -o out --model M/denoise.keras --sigma 10-30",
                ["--sigma must be a number from 0 to 75; got '10-30'"],
            ),
            ("restore a.png -o out --model M/denoise.keras --sigma strong", ["'strong'", "--sigma", "0 to 75"]),
            ("restore a.png -o out --model M/denoise.keras --sigma nan", ["'nan'"]),
            ("restore a.png -o out --model M/denoise.keras --sigma -5", ["'-5'", "0 to 75"]),
            ("restore a.png -o out --model M/denoise-gray.keras --sigma 50", ["trained for sigma 30, not 50"]),
            ("restore a.png -o out --model M/demosaic.keras --sigma 5", ["demosaic has no --sigma", "leave it out"]),
            ("restore a.png -o out --model M/demosaic.keras --quality 5", ["task demosaic has no --quality"]),
            ("restore a.png -o out --model M/denoise.keras --quality 5", ["has no --quality", "give its --sigma"]),
            ("restore a.png -o out --model M/jpeg-color.keras --sigma 5", ["has no --sigma", "give its --quality"]),
            ("restore a.png -o out --model M/denoise.keras --cfa RGGB", ["restores no mosaics", "leave --cfa out"]),
            ("restore a.png -o out --model M/denoise.keras --cfa GRBG", ["restores no mosaics", "leave --cfa out"]),
            ("restore a.png -o out --model M/sr-x2.keras --sigma 3", ["task sr-x2 has no --sigma"]),
            ("restore a.png -o out --model M/sr-x2.keras --task sr-x3", ["trained for task sr-x2, not sr-x3"]),
            ("evaluate --task denoise", ["--data", "--pairs", "required"]),
            ("evaluate --task denoise --data a.png --pairs sub sub", ["--pairs", "not allowed with"]),
            ("evaluate --task denoise --pairs sub sub", ["are the same; name two folders"]),
            ("evaluate --task denoise --pairs sub gone", ["gone: no such file or folder"]),
            ("evaluate --task demosaic --pairs sub .", ["makes its mosaics itself"]),
            ("evaluate --task denoise --pairs sub . --noise camera", ["--pairs are degraded already"]),
            ("evaluate --task denoise --pairs sub . --sigma 9", ["--sigma is what --model is told"]),
            ("evaluate --task jpeg --noise camera --data a.png", ["task jpeg has no noise"]),
            ("evaluate --task dehaze --data sub", ["'dehaze'", "demosaic"]),
            ("evaluate --task jpeg --quality 101 --data sub", ["'101'", "--quality", "1 to 100"]),
            (
                "evaluate --task jpeg --quality 10-20 --data sub",
                ["--quality must be a whole number from 1 to 100; got '10-20'"],
            ),
            ("evaluate --task demosaic --sigma 3 --data sub", ["no --sigma", "leave it out"]),
            ("evaluate --task jpeg-color --quality 10.5 --data sub", ["'10.5'", "whole number"]),
            ("evaluate --task jpeg-color --subsampling 4:1:1 --data sub", ["'4:1:1'", "4:2:0"]),
            ("evaluate --task jpeg --subsampling 4:2:0 --data sub", ["task jpeg", "leave --subsampling out"]),
            ("evaluate --task denoise --sigma 30 --data missing", ["missing: no such file or folder"]),
            ("evaluate --task denoise --sigma 30 --data empty", ["empty: no image found", ".heic"]),
            ("evaluate --task denoise --sigma 30 --data text.png", ["text.png: is not a PNG"]),
            ("evaluate --task denoise --sigma 70 --data sub --model M/denoise.keras", ["5 to 60, not 70"]),
            ("evaluate --task denoise --sigma 30 --data sub --model M/jpeg.keras", ["trained for task jpeg"]),
            ("evaluate --task denoise --sigma 30 --data sub --tile 3", ["--tile"]),
            ("evaluate --task denoise --sigma 30 --data sub --self-ensemble", ["--self-ensemble needs --model"]),
            ("evaluate --task denoise --sigma 30 --data sub --json sub/a.png", ["sub/a.png", "written over"]),
            ("evaluate --task jpeg --data sub --json r --csv ./r", ["--json and --csv are both ./r; name two files"]),
            ("evaluate --task jpeg --data sub --model M/ --json M/jpeg.keras", ["jpeg.keras", "written over"]),
            ("evaluate --task jpeg --data sub --model M/jpeg.keras --csv M/jpeg.keras", ["jpeg.keras", "written over"]),
            ("restore sub -o out --model M/jpeg.keras --report M/jpeg.keras", ["jpeg.keras", "written over"]),
            ("convert missing.npz m.keras", ["missing.npz: no such file"]),
            ("convert text.npz m.keras", ["text.npz: not a readable .npz file"]),
            pytest.param("convert text.pt m.keras", ["text.pt: not a PyTorch state_dict"], marks=NEEDS_TORCH),
            ("convert text.npz m.h5", ["m.h5", ".keras"]),
            ("convert text.npz m.keras --sigma 3", ["--sigma and --quality need --task"]),
            ("convert text.npz m.keras --task denoise", ["give --sigma"]),
            ("convert R/restore_rgb_f16_g3.npz m.keras --task jpeg --quality 10", ["channels is 3", "jpeg needs 1"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task sr-x3", ["scale is 2", "task sr-x3 needs 3"]),
            ("convert R/sr_x2_f16_g3.npz m.keras --task demosaic", ["scale is 2", "task demosaic needs 1"]),
            ("info missing.keras", ["missing.keras: no such model"]),
            ("info text.keras", ["text.keras: not an RNAN"]),
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

    @pytest.mark.parametrize("level", ["--level 25", "--level=25", "--level 0-75", "--level"])
    @pytest.mark.parametrize(
        "line",
        [
            "restore a.png -o out --model M/denoise.keras",
            "evaluate --task denoise --data a.png",
            "train --task denoise --run-dir run",
            "convert weights.npz m.keras --task denoise",
            "verify --model M/denoise.keras --artifacts out --data a.png",
        ],
    )
    def test_level_of_version_0_1(self, refused, line, level):
        save("a.png")
        refused(f"{line} {level}", 2, "--level is now --sigma for noise and --quality for JPEG", "sr-x2")

    @pytest.mark.parametrize(
        "line",
        [
            "restore a.png -o out",
            "evaluate --data a.png",
            "train --run-dir run",
            "convert weights.npz m.keras",
            "export saved-model --model M/sr-x2.keras --output out",
            "export tflite --model M/sr-x2.keras --output out",
            "export onnx --model M/sr-x2.keras --output out.onnx",
        ],
    )
    def test_sr_of_version_0_1(self, refused, line):
        save("a.png")
        refused(f"{line} --task sr", 2, "task sr is sr-x2, sr-x3 or sr-x4 now")

    def test_a_task_that_verify_reads_off_the_model(self, refused):
        refused("verify --model M/sr-x2.keras --artifacts out --data a.png --task sr", 2, "--task sr", "--help")
