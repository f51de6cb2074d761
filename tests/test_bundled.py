"""The presets: found by name or task, checked before use, better than what they are given."""

import hashlib
import json
import os
import shlex
import shutil
import zipfile

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rnan_tf import weights as bundled
from rnan_tf.cli import main
from rnan_tf.errors import InputError, JobError
from rnan_tf.export.tflite.lint import lint
from rnan_tf.network.cost import multiply_adds
from rnan_tf.network.loading import load_model, save_model
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of, read_card
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.task import TASKS, get_task
from rnan_tf.weights import find_model
from tests.helpers.quick import quick
from training import bundle

CROP = (slice(100, 196), slice(120, 216))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of presets with one in it, for sr-x2."""
    folder = tmp_path / "weights"
    folder.mkdir()
    card = ModelCard.of_task(get_task("sr-x2"), (0, 0), conditional=False)
    model = RNAN(filters=4, num_blocks=2, scale=2, dtype="float16", metadata=card.to_dict())
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
    assert model.metadata["task"] == "sr-x2"


FAST = [name for name, entry in bundled.read_manifest().items() if "fast" in entry]


def test_every_preset_has_a_fast_network():
    assert bundled.list_presets() == FAST


@pytest.mark.parametrize("name", quick(["denoise", "jpeg", "sr-x2"], FAST))
def test_a_fast_network_is_nearly_as_good_as_its_preset(name):
    fast, preset = Restorer.from_preset(name, fast=True), Restorer.from_preset(name)
    assert lint(bundled.fast_path(name).read_bytes()) == []
    assert fast.card.details["loss"] == preset.card.details["loss"]
    assert fast.card.details["int8_loss"] == bundled.read_manifest()[name]["fast"]["loss"]
    assert max(fast.card.details["int8_loss"].values()) < 0.1
    images = [("astronaut", fast.task.clean(skimage.data.astronaut()[CROP]))]
    strength = fast.default_strength
    psnr = []
    for restorer in (preset, fast):
        (image,) = evaluate(images, fast.task, strength, restorer.predictor(strength), fast.tiling())
        psnr.append(image.scores["psnr"])
    assert psnr[0] - psnr[1] < 0.2


def test_only_presets_are_fast(shelf):
    for name in ("sr-x2", "other.keras"):
        with pytest.raises(InputError, match=f"{name}: has no fast network"):
            Restorer.from_preset(name, fast=True)


def test_a_damaged_fast_network_is_refused(shelf):
    (shelf / "sr-x2-int8.tflite").write_bytes(b"other bytes")
    manifest = bundled.read_manifest()
    manifest["sr-x2"]["fast"] = {"file": "sr-x2-int8.tflite", "sha256": hashlib.sha256(b"bytes").hexdigest()}
    bundled.write_manifest(manifest)
    with pytest.raises(JobError, match="missing or damaged"):
        Restorer.from_preset("sr-x2", fast=True)


def test_restoring_fast_needs_no_tensorflow(run_python, tmp_path):
    Image.fromarray(skimage.data.astronaut()[CROP]).save(tmp_path / "a.png")
    script = """
import json, sys
from rnan_tf.cli import main
code = main(["restore", sys.argv[1], "-o", sys.argv[2], "--task", "denoise", "--fast"])
print(json.dumps([code, "tensorflow" in sys.modules, "keras" in sys.modules]))
"""
    assert run_python(script, tmp_path / "a.png", tmp_path / "b.png") == [0, False, False]
    restored = np.asarray(Image.open(tmp_path / "b.png"))
    expected = Restorer.from_preset("denoise", fast=True)(skimage.data.astronaut()[CROP])
    np.testing.assert_array_equal(restored, expected)


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
    assert main(["restore", "photo.png", "-o", "large.png", "--task", "sr-x2"]) == 0
    assert Image.open("large.png").size == (192, 192)
    assert main(["restore", "photo.png", "-o", "large.png", "--task", "sr-x3"]) == 2
    assert "no network for sr-x3 comes with rnan-tf (sr-x2 do); give --model" in capsys.readouterr().err
    assert main(["restore", "photo.png", "-o", "large.png"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_info_lists_the_networks(shelf, capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out == "sr-x2         validation 30.00 dB, 1 h of training\n"


def test_results_are_kept_and_written_as_a_page(shelf, tmp_path, monkeypatch, capsys):
    from benchmarks import results

    manifest = json.loads((shelf / "manifest.json").read_text())
    known = {"validation_strength": None, "validation_photographs": 8, "code": "abc", "commands": ["train"]}
    manifest["sr-x2"] |= known
    (shelf / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "sets" / "Set5").mkdir(parents=True)
    Image.fromarray(skimage.data.astronaut()[CROP]).save(tmp_path / "sets" / "Set5" / "a.png")
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    paper = {2: ("38.17", "EDSR 38.11"), 3: ("", "")}
    monkeypatch.setattr(results, "PUBLISHED", {(f"sr-x{n}", "Set5"): {0: paper[n]} for n in paper})
    monkeypatch.setattr(results, "CROPS", ())
    assert results.main(["--data", "sets"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--task", "sr-x2", "--data", "sets/Set5", "--model", "sr-x2"]) == 0
    psnr, _, ssim = capsys.readouterr().out.splitlines()[-1].split()[1:]
    page = (tmp_path / "results.md").read_text()
    assert f"{bundled.read_manifest()['sr-x2']['test']['Set5']['psnr']:.2f}" == psnr
    assert f"| {psnr} ({ssim}) | not measured | 38.17 | EDSR 38.11 |" in page
    assert "| sr-x3 |  | Set5 |  | not measured | not measured |" in page
    monkeypatch.setattr(results, "evaluate", None)  # a second run has nothing to measure
    assert results.main(["--data", "sets"]) == 0
    assert results.main(["--data", "sets", "--self-ensemble", "Set14"]) == 0
    assert (tmp_path / "results.md").read_text() == page


def test_each_entry_says_how_it_was_made():
    for name, entry in bundled.read_manifest().items():
        assert bundled.preset_path(name).stat().st_size < 5e6, name
        assert name in TASKS
        assert all(line.startswith("python training/train.py --task ") for line in entry["commands"])
        words = [shlex.split(line) for line in entry["commands"]]
        assert words[-1][words[-1].index("--task") + 1] == name
        assert words[-1][words[-1].index("--run-dir") + 1] == f"runs/{entry['run']}"
        assert entry["code"] and entry["data"] and entry["hours"] > 0
        assert abs(entry["float16_loss"]) <= 0.01
        assert all(20 < result["psnr"] < 50 for result in entry["test"].values()) and entry["test"]


@pytest.mark.parametrize("name", quick(["demosaic", "denoise", "sr-x3"], bundled.list_presets()))
def test_each_holds_its_card(name):
    with zipfile.ZipFile(bundled.preset_path(name)) as archive:
        data = json.loads(archive.read("config.json"))["config"]["metadata"]
    card, model = read_card(data, name), load_model(name)
    assert card.to_dict() == data and card == card_of(model, name)
    assert card.task == name and card.conditional == model.conditional
    assert card.details["parameters"] == model.count_params()
    assert card.details["multiply_adds"] == round(multiply_adds(model))
    entry = bundled.read_manifest()[name]
    assert card.details["code"] == entry["code"]
    if entry["validation_strength"] is not None:
        assert card.strengths[0] <= entry["validation_strength"] <= card.strengths[1]


@pytest.mark.parametrize("name", quick(["demosaic", "denoise", "sr-x3"], bundled.list_presets()))
def test_each_restores_a_photograph_that_it_does_not_know(name):
    restorer = Restorer.from_preset(name)
    task, strength = restorer.task, {"denoise": 50, "denoise-gray": 25, "jpeg": 10}.get(name, 0)
    images = [("astronaut", task.clean(np.ascontiguousarray(skimage.data.astronaut()[CROP])))]
    before, after = (
        mean_scores(image.scores for image in evaluate(images, task, strength, predict))["psnr"]
        for predict in (None, restorer.predictor(strength))
    )
    assert after > before + 0.5, (before, after)


# === How a network came to be ===


@pytest.fixture
def make_run(tmp_path):
    """Make the folder of a finished run of an hour, without its networks' content."""

    def make(name, **options):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"task": "demosaic", **options}))
        for file, seconds in (("config.json", 1000), ("last.keras", 4600), ("best.keras", 4600)):
            (folder / file).touch()
            os.utime(folder / file, (seconds, seconds))
        return folder

    return make


def test_the_history_of_a_run_that_starts_from_a_preset(make_run, shelf):
    """The preset's own run is in the manifest; no command's words are taken for its name."""
    entry = json.loads((shelf / "manifest.json").read_text())["sr-x2"]
    entry |= {"run": "a run", "commands": ["train --run-dir 'runs/a run' --seed 7"], "hours": 2.5}
    (shelf / "manifest.json").write_text(json.dumps({"sr-x2": entry}))
    commands, hours, _ = bundle.history(make_run("second", init="sr-x2"))
    assert commands == [
        *entry["commands"],
        "python training/train.py --task demosaic --init 'runs/a run' --run-dir runs/second",
    ]
    assert hours == 3.5


def test_a_run_does_not_begin_with_its_own_network(make_run, shelf):
    entry = json.loads((shelf / "manifest.json").read_text())["sr-x2"]
    (shelf / "manifest.json").write_text(json.dumps({"sr-x2": {**entry, "run": "second", "commands": ["train"]}}))
    with pytest.raises(InputError, match="second: preset sr-x2, which it began with, is of this run"):
        bundle.history(make_run("second", init="sr-x2"))


def test_the_history_of_a_run_that_starts_from_a_presets_file(make_run, shelf, tmp_path):
    copy = shutil.copy(shelf / "sr-x2.keras", tmp_path / "copy.keras")
    entry = json.loads((shelf / "manifest.json").read_text())["sr-x2"]
    entry |= {"run": "first", "commands": ["train --run-dir runs/first"], "hours": 2.5}
    (shelf / "manifest.json").write_text(json.dumps({"sr-x2": entry}))
    commands, hours, _ = bundle.history(make_run("second", init=str(copy)))
    assert commands[0] == entry["commands"][0] and "--init runs/first" in commands[1]
    assert hours == 3.5


@pytest.mark.parametrize("file", ["", "/best.keras"])
@pytest.mark.parametrize("first", ["first", "first.v2", "the first"])
def test_the_history_of_a_run_that_starts_from_another(make_run, first, file):
    folder = make_run(first)
    commands, hours, _ = bundle.history(make_run("second", init=f"{folder}{file}"))
    quoted = shlex.quote(f"runs/{first}")
    assert commands == [
        f"python training/train.py --task demosaic --run-dir {quoted}",
        f"python training/train.py --task demosaic --init {quoted} --run-dir runs/second",
    ]
    assert hours == 2
