"""Recipes: each preset has a file that trains what its last command trained; what is wrong with one is one line."""

import json
import re
import shlex
from pathlib import Path

import pytest

from rnan_tf.cli.train import main, parse_arguments
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.weights import read_manifest

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "training" / "recipes"


def arguments_of(command):
    """The arguments in a command line of training/train.py."""
    return shlex.split(command.partition("training/train.py ")[2])


@pytest.mark.parametrize("name", read_manifest())
def test_a_presets_recipe_is_its_last_command(name):
    entry = read_manifest()[name]
    recipe = RECIPES / f"{name}.json"
    assert read_config(recipe) == parse_arguments(arguments_of(entry["commands"][-1])).config
    about = json.loads(recipe.read_text())["about"]
    assert about["hours"] == entry["hours"]
    assert f"{entry['validation_psnr']} dB on {entry['validation_photographs']} held-out" in about["score"]
    assert [*about.get("before", []), about["command"]] == entry["commands"]


def test_the_demos_recipe_is_what_make_train_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = re.findall(r"^\t(.*training/train\.py .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert parse_arguments(arguments_of(command)).config == read_config(RECIPES / "demo.json")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.json"

    def write(**options):
        path.write_text(json.dumps(options))
        return str(path)

    return write


def test_options_overrule_the_recipe(recipe):
    path = recipe(
        task="denoise", sigma="0-75", steps=7, learning_rate=1, skip_subsampled=True, data=["a", "b"], network={"x": 1}
    )
    given = {"task": "denoise", "sigma": "0-75", "steps": 7, "skip_subsampled": True, "data": ("a", "b")}
    assert parse_arguments(["--recipe", path]).config == TrainConfig(**given, learning_rate=1.0, network={"x": 1})
    line = "--sigma 25 --steps 20000 --no-skip-subsampled --data c --seed 0"  # defaults too are options
    config = parse_arguments([*line.split(), "--recipe", path]).config
    assert (config.sigma, config.steps, config.skip_subsampled, config.data) == ("25", 20_000, False, ("c",))
    assert (config.learning_rate, config.network) == (1.0, {"x": 1})


def test_another_task_does_not_get_the_recipes_strength(recipe):
    path = recipe(task="jpeg-color", quality="5-60", subsampling=["4:2:2"], steps=7)
    config = parse_arguments(["--recipe", path, "--task", "denoise"]).config
    assert config == TrainConfig(task="denoise", steps=7)
    assert parse_arguments(["--recipe", path, "--task", "jpeg-color"]).config.quality == "5-60"


def test_a_runs_configuration_is_a_recipe(tmp_path):
    config = TrainConfig(task="denoise", sigma="0-75", data=("a",), network={"filters": 8}).resolved(False)
    config.write(tmp_path)
    assert parse_arguments(["--recipe", str(tmp_path / "config.json")]).config == config


def test_what_a_recipe_tells_about_itself_is_for_readers(recipe):
    assert read_config(Path(recipe(about={"hours": 1, "score": [2]}, steps=3))) == TrainConfig(steps=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a readable configuration"),
        ("", "not a readable configuration"),
        ("{", "not a readable configuration"),
        ("[" * 100_000, "not a readable configuration"),
        ("[]", "must be an object with the options' names, not []"),
        ('"denoise"', "must be an object"),
        ('{"step": 3}', "unknown option 'step'; the options are task, sigma"),
        ('{"steps": "3"}', '--steps must be a whole number or null; got "3"'),
        ('{"steps": 3.5}', "--steps must be a whole number or null; got 3.5"),
        ('{"steps": true}', "--steps must be a whole number or null; got true"),
        ('{"seed": null}', "--seed must be a whole number; got null"),
        ('{"learning_rate": "1e-3"}', "--learning-rate must be a number or null"),
        ('{"sigma": 25}', "--sigma must be text or null; got 25"),
        ('{"data": "photos"}', '--data must be a list of texts; got "photos"'),
        ('{"data": [1]}', "--data must be a list of texts; got [1]"),
        ('{"skip_subsampled": 1}', "--skip-subsampled must be true or false"),
        ('{"network": []}', "--network must be an object"),
        ('{"task": "blur"}', "--task must be one of denoise,"),
        ('{"task": []}', "--task must be text"),
        ('{"task": "blur", "level": "3"}', "unknown task 'blur'"),
        ('{"task": "demosaic", "level": "3"}', "task demosaic has no --level"),
        ('{"model": "rnan_huge"}', "--model must be one of rnan, rnan_lite"),
        ('{"subsampling": ["4:1:1"]}', "--subsampling must be one of 4:2:0"),
        ('{"learning_rate": NaN}', "--learning-rate must be above 0; got nan"),
    ],
)
def test_a_wrong_recipe_is_one_line_and_2(tmp_path, capsys, text, message):
    path = tmp_path / "recipe.json"
    if text is not None:
        path.write_text(text)
    assert main(["--recipe", str(path), "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line, line
    assert not (tmp_path / "run").exists()
