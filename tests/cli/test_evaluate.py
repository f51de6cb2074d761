"""The command `rnan-tf evaluate`: what it measures, and the reports it writes."""

import csv
import io
import json
import pathlib

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf.cli import evaluate as command
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.tasks.metrics import score
from rnan_tf.tasks.task import Scoring
from tests.helpers.command_line import RGB, save


class TestEvaluate:
    def test_report(self, rnan_tf):
        save("data/a.png")
        save("data/b.png", RGB[::-1, ::-1])
        line = "evaluate --task denoise --sigma 30 --data data --model M/denoise.keras --json r/r.json --csv r/r.csv"
        code, out, err = rnan_tf(line)
        assert (code, err) == (0, [])
        report = json.loads(pathlib.Path("r/r.json").read_text())
        assert list(report) == ["task", "strength", "mean", "images"]
        assert report["task"] == "denoise" and report["strength"] == 30
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
        "task, option, strength",
        [
            ("denoise", "--sigma 25", 25),
            ("denoise-gray", "--sigma 50", 50),
            ("denoise-gray", "", 50),
            ("demosaic", "", None),
            ("jpeg", "--quality 20", 20),
            ("jpeg-color", "--quality 20", 20),
            ("sr-x2", "", None),
            ("sr-x4", "", None),
        ],
    )
    def test_without_a_model_the_degraded_input_is_measured(self, rnan_tf, task, option, strength):
        save("a.png", skimage.data.astronaut()[:128, 150:278])
        assert rnan_tf(f"evaluate --task {task} {option} --data a.png --json r.json")[0] == 0
        report = json.loads(pathlib.Path("r.json").read_text())
        assert (report["task"], report["strength"]) == (task, strength)
        low, high = {
            "denoise": (20, 21.5),
            "denoise-gray": (14, 16),
            "demosaic": (5, 12),
            "jpeg": (27, 36),
            "jpeg-color": (25, 34),
            "sr-x2": (24, 34),
            "sr-x4": (20, 29),
        }[task]
        assert low < report["mean"]["psnr"] < high

    @pytest.mark.parametrize("subsampling", ["", "4:2:0", "4:4:4", "4:2:2"])
    def test_color_jpegs_have_the_subsampling_and_a_psnrb(self, rnan_tf, subsampling):
        save("a.png")
        option = f"--subsampling {subsampling}" if subsampling else ""
        line = f"evaluate --task jpeg-color --quality 30 --data a.png --json r.json --csv r.csv {option}"
        code, out, _ = rnan_tf(line)
        assert code == 0
        report = json.loads(pathlib.Path("r.json").read_text())
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(buffer, "JPEG", quality=30, subsampling=subsampling or "4:2:0")
        expected = score(np.asarray(Image.open(buffer)), RGB, Scoring(blocking=True))
        assert report["mean"] == pytest.approx(expected, rel=1e-9)
        with open("r.csv", newline="") as file:
            assert [list(row) for row in csv.DictReader(file)] == [["name", "psnr", "ssim", "psnrb"]]
        assert out[-1].endswith(f"{expected['ssim']:.4f}  PSNR-B {expected['psnrb']:6.2f} dB")

    def test_pairs_are_measured_as_they_are(self, rnan_tf):
        noisy = np.clip(RGB + np.random.default_rng(0).normal(0, 10, RGB.shape), 0, 255).astype(np.uint8)
        for name, pixels in (("a", noisy), ("b", RGB), ("alone", RGB), ("sizes", RGB[1:])):
            save(f"noisy/{name}.png", pixels)
        for name in ("a", "b", "sizes"):
            save(f"clean/{name}.tif")
        code, _, err = rnan_tf("evaluate --task denoise --pairs noisy clean --json r.json")
        assert code == 0
        assert err[0] == "skipped: noisy has no partner for alone.png" and "sizes.tif: has 37x31 pixels" in err[1]
        first, second = json.loads(pathlib.Path("r.json").read_text(), parse_constant=float)["images"]
        assert first.pop("name") == "a.tif" and first == pytest.approx(score(noisy, RGB, Scoring()))
        assert second == {"name": "b.tif", "psnr": None, "ssim": 1.0}

    def test_pairs_none_of_which_fit(self, rnan_tf):
        save("small/a.png")
        save("large/a.png")
        code, _, err = rnan_tf("evaluate --task sr-x3 --pairs small large")
        assert code == 2 and err[0].startswith(
            "skipped: large/a.png: has 36x30 pixels, but must be 3 times as large as"
        )
        assert err[1].startswith("error: small and large: none of 1 pairs can be used")

    def test_a_network_is_told_each_pairs_own_noise(self, rnan_tf, monkeypatch):
        told = []
        monkeypatch.setattr(KerasRuntime, "run", lambda self, batch, strength: told.append(strength) or batch)
        rng = np.random.default_rng(0)
        for name, sigma in (("a", 10), ("b", 40)):
            save(f"clean/{name}.png", np.full((96, 96, 3), 128, np.uint8))
            save(f"noisy/{name}.png", np.clip(128 + rng.normal(0, sigma, (96, 96, 3)), 0, 255).astype(np.uint8))
        line = "evaluate --task denoise --pairs noisy clean --model M/denoise.keras"
        assert rnan_tf(line)[0] == 0
        assert told == pytest.approx([10, 40], rel=0.05)
        told.clear()
        assert rnan_tf(line + " --sigma 33")[0] == 0
        assert told == [33, 33]

    def test_camera_noise(self, rnan_tf):
        save("a.png", skimage.data.astronaut()[:96, 100:196])
        line = "evaluate --task denoise --noise camera --data a.png --json r.json"
        code, out, _ = rnan_tf(line)
        report = json.loads(pathlib.Path("r.json").read_text())
        assert code == 0 and report["strength"] is None and 12 < report["mean"]["psnr"] < 50
        assert rnan_tf(line)[1] == out and rnan_tf(line + " --seed 1")[1] != out

    def test_a_model_that_restores_counts(self, rnan_tf, monkeypatch):
        save("a.png", np.full((32, 32, 3), 128, np.uint8))
        monkeypatch.setattr(KerasRuntime, "run", lambda self, batch, strength: batch * 0 + 128 / 255)
        assert rnan_tf("evaluate --task demosaic --data a.png --model M/demosaic.keras --json r.json")[0] == 0
        # Perfect: infinity, for which JSON has no number.
        assert json.loads(pathlib.Path("r.json").read_text())["mean"] == {"psnr": None, "ssim": 1.0}

    def test_the_models_own_strength_is_the_default(self, rnan_tf):
        save("a.png")
        rnan_tf("evaluate --task denoise-gray --data a.png --model M/denoise-gray.keras --json r.json")
        assert json.loads(pathlib.Path("r.json").read_text())["strength"] == 30

    @pytest.mark.parametrize("option", ["--json", "--csv"])
    def test_a_report_that_cannot_be_written(self, refused, option, monkeypatch):
        monkeypatch.setattr(command, "evaluate", lambda *args: pytest.fail("hours of work before it is noticed"))
        save("a.png")
        pathlib.Path("file").touch()
        refused(f"evaluate --task demosaic --data a.png {option} file/r", 1, "file: the folder cannot be made")

    def test_out_of_memory(self, refused, monkeypatch):
        def evaluate(*args):
            raise MemoryError

        monkeypatch.setattr(command, "evaluate", evaluate)
        save("a.png")
        refused("evaluate --task demosaic --data a.png", 1, "out of memory", "--tile")


def test_csv_quotes_names():
    text = command._csv([{"name": 'a,"b".png', "psnr": 1.5, "ssim": 0.5}])
    assert list(csv.DictReader(io.StringIO(text))) == [{"name": 'a,"b".png', "psnr": "1.5", "ssim": "0.5"}]
