"""rnan_tf.weights: the presets' files and their manifest, found by what the user calls a model."""

import hashlib
import json
import zipfile

import pytest

import rnan_tf
from rnan_tf import weights
from rnan_tf.errors import InputError, JobError


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of presets that holds `small`, whose content does not matter here; the current folder is empty."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "small.keras").write_bytes(b"a network")
    digest = hashlib.sha256(b"a network").hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"small": {"file": "small.keras", "sha256": digest}}))
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(weights, "FOLDER", folder)
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_presets_are_found_by_name(shelf):
    assert weights.list_presets() == ["small"]
    assert weights.preset_path("small") == weights.find_model("small") == shelf / "small.keras"
    assert weights.preset_path("large") is None and weights.preset_path("small.keras") is None


@pytest.mark.parametrize("content", [None, b"", b"another network"])
def test_a_damaged_preset_is_refused(shelf, content):
    path = shelf / "small.keras"
    path.unlink() if content is None else path.write_bytes(content)
    for find in (weights.preset_path, weights.find_model):
        with pytest.raises(JobError, match=r"small\.keras: the bundled network is missing or damaged; install rnan-tf"):
            find("small")


def test_what_lies_in_the_folder_comes_before_a_preset(shelf, tmp_path):
    run = tmp_path / "here" / "small"
    run.mkdir()
    with pytest.raises(InputError, match=r"^small: no best\.keras in this folder"):
        weights.find_model("small")
    (run / "best.keras").touch()
    assert weights.find_model("small").resolve() == run / "best.keras"


def test_a_file_is_itself(shelf, tmp_path):
    path = tmp_path / "m.keras"
    path.touch()
    assert weights.find_model(path) == weights.find_model(str(path)) == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("large", "^large: no such model; give a .keras file, .*, or a preset: small$"),
        ("m.pt", "^m.pt: not a .keras file; PyTorch checkpoints go through `rnan-tf convert` first"),
    ],
)
def test_no_model(shelf, name, message):
    if name.endswith(".pt"):
        (shelf.parent / "here" / name).touch()
    with pytest.raises(InputError, match=message):
        weights.find_model(name)


def test_without_a_manifest_there_are_no_presets(shelf):
    (shelf / "manifest.json").unlink()
    assert weights.list_presets() == [] and weights.preset_path("small") is None
    with pytest.raises(InputError, match="a preset: none in this version"):
        weights.find_model("small")


def test_the_manifest_is_written_as_it_is_read(shelf):
    entries = {**weights.read_manifest(), "tiny": {"file": "tiny.keras", "sha256": "", "hours": 1.5}}
    weights.write_manifest(entries)
    assert weights.read_manifest() == entries and weights.list_presets() == ["small", "tiny"]
    assert sorted(path.name for path in shelf.iterdir()) == ["manifest.json", "small.keras"]


@pytest.mark.parametrize("name", rnan_tf.list_presets())
def test_each_preset_is_whole(name):
    path = weights.preset_path(name)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("config.json"))["class_name"] == "RNAN"
