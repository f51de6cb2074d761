"""The bundled networks: found by name or task, checked before use, better than what they are given."""

import hashlib
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image
from rnan_tf.restoring.loading import find_model, load_model, save_model

from rnan_tf.cli import main
from rnan_tf.errors import InputError, JobError
from rnan_tf.network.model import RNAN
from rnan_tf.restoring import presets as bundled
from rnan_tf.restoring.evaluation import evaluate
from rnan_tf.restoring.tiling import model_predictor
from rnan_tf.tasks.task import TASKS, get_task

CROP = (slice(100, 196), slice(120, 216))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of bundled networks with one in it, for sr by 2."""
    folder = tmp_path / "weights"
    folder.mkdir()
    model = RNAN(filters=4, num_blocks=2, scale=2, dtype="float16", metadata={"task": "sr", "level": [2, 2]})
    save_model(model, folder / "sr-x2.keras")
    digest = hashlib.sha256((folder / "sr-x2.keras").read_bytes()).hexdigest()
    manifest = {"sr-x2": {"file": "sr-x2.keras", "sha256": digest, "validation_psnr": 30.0, "hours": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(bundled, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_network_is_found_by_its_name(shelf):
    assert find_model("sr-x2") == shelf / "sr-x2.keras"
    model = load_model("sr-x2")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.metadata["task"] == "sr"


def test_a_file_of_that_name_comes_first(shelf, tmp_path):
    (tmp_path / "sr-x2").mkdir()
    with pytest.raises(InputError, match=r"no best\.keras in this folder"):
        load_model("sr-x2")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), lambda p: p.unlink()])
def test_a_damaged_network_is_refused(shelf, damage):
    damage(shelf / "sr-x2.keras")
    with pytest.raises(JobError, match="missing or damaged; install rnan-tf again"):
        load_model("sr-x2")


def test_restore_takes_the_network_of_the_task(shelf, capsys):
    Image.fromarray(skimage.data.astronaut()[CROP]).save("photo.png")
    assert main(["restore", "photo.png", "-o", "large.png", "--task", "sr"]) == 0
    assert Image.open("large.png").size == (192, 192)
    assert main(["restore", "photo.png", "-o", "large.png", "--task", "sr", "--level", "3"]) == 2
    assert "no network called sr-x3 is bundled (sr-x2); give --model" in capsys.readouterr().err
    assert main(["restore", "photo.png", "-o", "large.png"]) == 2
    assert "give --task" in capsys.readouterr().err


def test_info_lists_the_networks(shelf, capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out == "sr-x2         validation 30.00 dB, 1 h of training\n"


def test_results_are_kept_and_written_as_a_page(shelf, tmp_path, monkeypatch, capsys):
    from benchmarks import results

    manifest = json.loads((shelf / "manifest.json").read_text())
    manifest["sr-x2"] |= {"validation_level": 2, "validation_photographs": 8, "code": "abc", "commands": ["train"]}
    (shelf / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "sets" / "Set5").mkdir(parents=True)
    Image.fromarray(skimage.data.astronaut()[CROP]).save(tmp_path / "sets" / "Set5" / "a.png")
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(results, "PUBLISHED", {("sr", "Set5"): {2: ("38.17", "EDSR 38.11"), 3: ("", "")}})
    monkeypatch.setattr(results, "CROPS", ())
    assert results.main(["--data", "sets"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--task", "sr", "--data", "sets/Set5", "--model", "sr-x2"]) == 0
    psnr, _, ssim = capsys.readouterr().out.splitlines()[-1].split()[1:]
    page = (tmp_path / "results.md").read_text()
    assert f"{bundled.read_manifest()['sr-x2']['test']['Set5 2']['psnr']:.2f}" == psnr
    assert f"| {psnr} ({ssim}) | not measured | 38.17 | EDSR 38.11 |" in page
    assert "| sr | 3 | Set5 |  | not measured | not measured |" in page
    monkeypatch.setattr(results, "evaluate", None)  # a second run has nothing to measure
    assert results.main(["--data", "sets"]) == 0
    assert results.main(["--data", "sets", "--self-ensemble", "Set14"]) == 0
    assert (tmp_path / "results.md").read_text() == page


def test_each_entry_says_how_it_was_made():
    for name, entry in bundled.read_manifest().items():
        assert bundled.bundled_path(name).stat().st_size < 5e6, name
        assert entry["task"] in TASKS
        assert all(line.startswith("python training/train.py --task ") for line in entry["commands"])
        assert entry["code"] and entry["data"] and entry["hours"] > 0
        assert abs(entry["float16_loss"]) <= 0.01
        assert all(20 < result["psnr"] < 50 for result in entry["test"].values()) and entry["test"]


@pytest.mark.parametrize("name", bundled.read_manifest())
def test_each_restores_a_photograph_that_it_does_not_know(name):
    task, model = get_task(bundled.read_manifest()[name]["task"]), load_model(name)
    level = model.scale if task.name == "sr" else {"denoise": 50, "denoise-gray": 25, "jpeg": 10}.get(task.name, 0)
    images = [("astronaut", task.clean(np.ascontiguousarray(skimage.data.astronaut()[CROP]), level))]
    before = evaluate(images, task, level)["mean"]["psnr"]
    after = evaluate(images, task, level, model_predictor(model, level / 255))["mean"]["psnr"]
    assert after > before + 0.5, (before, after)
