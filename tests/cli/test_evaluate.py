"""The command `rnan-tf evaluate`: what it measures, and the reports it writes."""

import csv
import io
import json
import pathlib

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.cli import commands
from rnan_tf.restoring import tiling
from rnan_tf.tasks.metrics import Protocol, score
from tests.helpers.command_line import RGB, save


class TestEvaluate:
    def test_report(self, rnan_tf):
        save("data/a.png")
        save("data/b.png", RGB[::-1, ::-1])
        line = "evaluate --task denoise --level 30 --data data --model M/denoise.keras --json r/r.json --csv r/r.csv"
        code, out, err = rnan_tf(line)
        assert (code, err) == (0, [])
        report = json.loads(pathlib.Path("r/r.json").read_text())
        assert list(report) == ["task", "level", "mean", "images"]
        assert report["task"] == "denoise" and report["level"] == 30
        assert [image["name"] for image in report["images"]] == ["a.png", "b.png"]
        for key in ("psnr", "ssim"):
            assert report["mean"][key] == pytest.approx(np.mean([image[key] for image in report["images"]]))
        with open("r/r.csv", newline="") as file:
            rows = [{k: v if k == "name" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        assert rows == report["images"]
        shown = [("a.png", report["images"][0]), ("b.png", report["images"][1]), ("mean ", report["mean"])]
        assert out == [f"{name}  {row['psnr']:6.2f} dB  {row['ssim']:.4f}" for name, row in shown]
        assert rnan_tf(line)[1] == out, "the same noise again"
        assert rnan_tf(line + " --seed 1")[1] != out

    @pytest.mark.parametrize(
        "task, level", [("denoise", 25), ("denoise-gray", 50), ("demosaic", None), ("jpeg", 20), ("jpeg-color", 20)]
    )
    def test_without_a_model_the_degraded_input_is_measured(self, rnan_tf, task, level):
        save("a.png", skimage.data.astronaut()[:128, 150:278])
        option = f"--level {level}" if level else ""
        assert rnan_tf(f"evaluate --task {task} {option} --data a.png --json r.json")[0] == 0
        report = json.loads(pathlib.Path("r.json").read_text())
        assert report["level"] == level
        low, high = {
            "denoise": (20, 21.5),
            "denoise-gray": (14, 16),
            "demosaic": (5, 12),
            "jpeg": (27, 36),
            "jpeg-color": (25, 34),
        }[task]
        assert low < report["mean"]["psnr"] < high

    @pytest.mark.parametrize("subsampling", ["", "4:2:0", "4:4:4", "4:2:2"])
    def test_color_jpegs_have_the_subsampling_and_a_psnrb(self, rnan_tf, subsampling):
        save("a.png")
        option = f"--subsampling {subsampling}" if subsampling else ""
        code, out, _ = rnan_tf(f"evaluate --task jpeg-color --level 30 --data a.png --json r.json --csv r.csv {option}")
        assert code == 0
        report = json.loads(pathlib.Path("r.json").read_text())
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(buffer, "JPEG", quality=30, subsampling=subsampling or "4:2:0")
        expected = score(np.asarray(Image.open(buffer)), RGB, Protocol(blocking=True))
        assert report["mean"] == pytest.approx(expected, rel=1e-9)
        with open("r.csv", newline="") as file:
            assert [list(row) for row in csv.DictReader(file)] == [["name", "psnr", "ssim", "psnrb"]]
        assert out[-1].endswith(f"{expected['ssim']:.4f}  PSNR-B {expected['psnrb']:6.2f} dB")

    def test_a_model_that_restores_counts(self, rnan_tf, monkeypatch):
        save("a.png", np.full((32, 32, 3), 128, np.uint8))
        monkeypatch.setattr(tiling, "model_predictor", lambda model, level: lambda x: x * 0 + 128 / 255)
        assert rnan_tf("evaluate --task demosaic --data a.png --model M/demosaic.keras --json r.json")[0] == 0
        # Perfect: infinity, for which JSON has no number.
        assert json.loads(pathlib.Path("r.json").read_text())["mean"] == {"psnr": None, "ssim": 1.0}

    def test_the_models_own_level_is_the_default(self, rnan_tf):
        save("a.png")
        rnan_tf("evaluate --task denoise-gray --data a.png --model M/denoise-gray.keras --json r.json")
        assert json.loads(pathlib.Path("r.json").read_text())["level"] == 30

    @pytest.mark.parametrize("option", ["--json", "--csv"])
    def test_a_report_that_cannot_be_written(self, refused, option, monkeypatch):
        monkeypatch.setattr(commands, "evaluate", lambda *args: pytest.fail("hours of work before it is noticed"))
        save("a.png")
        pathlib.Path("file").touch()
        refused(f"evaluate --task demosaic --data a.png {option} file/r", 1, "file: the folder cannot be made")

    def test_out_of_memory(self, refused, monkeypatch):
        def evaluate(*args):
            raise MemoryError

        monkeypatch.setattr(commands, "evaluate", evaluate)
        save("a.png")
        refused("evaluate --task demosaic --data a.png", 1, "out of memory", "--tile")


def test_csv_quotes_names():
    text = commands._csv([{"name": 'a,"b".png', "psnr": 1.5, "ssim": 0.5}])
    assert list(csv.DictReader(io.StringIO(text))) == [{"name": 'a,"b".png', "psnr": "1.5", "ssim": "0.5"}]
