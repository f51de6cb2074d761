"""rnan_tf.training.config: what is left open is filled in, what is wrong is said in one line."""

import dataclasses
import json
import math
import re

import pytest

from rnan_tf.cli.train import main, parse_arguments
from rnan_tf.errors import InputError, with_dashes
from rnan_tf.training.config import TrainConfig, read_config
from rnan_tf.training.strategy import Placement


@pytest.mark.parametrize(("has_gpu", "model"), [(True, "rnan"), (False, "rnan_lite")])
def test_the_model_follows_the_machine(has_gpu, model):
    assert TrainConfig().resolved(has_gpu).model == model
    assert TrainConfig(model="rnan_lite").resolved(has_gpu).model == "rnan_lite"


@pytest.mark.parametrize(
    ("task", "model", "loss"),
    [("denoise", "rnan", "l2"), ("sr-x2", "rnan", "l1"), ("denoise", "rnan_lite", "l1"), ("jpeg", "rnan", "l2")],
)
def test_the_loss_follows_task_and_model(task, model, loss):
    assert TrainConfig(task=task, model=model).resolved(False).loss == loss
    assert TrainConfig(task=task, model=model, loss="l2").resolved(False).loss == "l2"


@pytest.mark.parametrize(
    ("task", "model", "size"), [("sr-x2", None, 24), ("sr-x2", "rnan", 48), ("jpeg", "rnan_lite", 48)]
)
def test_the_patch_size_follows_task_and_model(task, model, size):
    assert TrainConfig(task=task, model=model).resolved(False).patch_size == size
    assert TrainConfig(task=task, model=model, patch_size=32).resolved(False).patch_size == 32


@pytest.mark.parametrize(
    ("task", "model", "pieces"),
    [
        ("demosaic", None, 4),
        ("sr-x3", None, 4),
        ("demosaic", "rnan", 1),
        ("jpeg", None, 2),
        ("jpeg", "rnan", 1),
        ("denoise", None, 2),
        ("denoise-gray", "rnan_lite", 2),
    ],
)
def test_the_pieces_a_patch_is_chosen_from_follow_task_and_model(task, model, pieces):
    assert TrainConfig(task=task, model=model).resolved(False).busiest_of == pieces
    assert TrainConfig(task=task, model=model, busiest_of=2).resolved(False).busiest_of == 2
    if task != "demosaic":  # of which there are no pairs
        assert TrainConfig(task=task, model=model, pairs=("a", "b")).resolved(False).busiest_of == 1


def test_every_open_field_but_init_is_filled_in():
    config = TrainConfig(task="denoise").resolved(False)
    assert config.sigma == "50"
    # A task has one strength or none.
    assert [name for name, value in dataclasses.asdict(config).items() if value is None] == ["quality", "init"]
    config = TrainConfig(task="jpeg-color").resolved(False)
    assert config.quality == "10"
    assert [name for name, value in dataclasses.asdict(config).items() if value is None] == ["sigma", "init"]


def test_a_range_of_strengths_is_read():
    assert TrainConfig(task="denoise", sigma="0-75").resolved(False).strengths == (0, 75)
    assert TrainConfig(task="jpeg", quality="30").resolved(False).strengths == (30, 30)
    assert TrainConfig(task="sr-x3").resolved(False).strengths == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"steps": 0}, "--steps"),
        ({"batch_size": 0}, "--batch-size"),
        ({"busiest_of": 0}, "--busiest-of must be from 1 to 64; got 0"),
        ({"busiest_of": 65}, "--busiest-of must be from 1 to 64; got 65"),
        ({"patch_size": 47}, "--patch-size"),
        ({"patch_size": 4}, "--patch-size"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"learning_rate": math.nan}, "--learning-rate must be above 0; got nan"),
        ({"clipnorm": math.nan}, "--clipnorm must be at least 0, .*got nan"),
        ({"clipnorm": math.inf}, "--clipnorm"),
        ({"weight_decay": -0.1}, "--weight-decay must be at least 0, .*got -0.1"),
        ({"weight_decay": 0.1, "optimizer": "adam"}, "--weight-decay is of optimizer muon alone"),
        ({"warmup_steps": -5}, "--warmup-steps must be at least 0; got -5"),
        ({"seed": -1}, "--seed must be from 0 to 4294967295; got -1"),
        ({"seed": 2**40}, "--seed must be from 0 to 4294967295; got 1099511627776"),
        ({"val_data": ("x",)}, "--val-data"),
        ({"task": "denoise", "sigma": "80"}, "80"),
        ({"task": "sr-x2", "sigma": "2-4"}, "task sr-x2 has no --sigma"),
        ({"task": "demosaic", "quality": "3"}, "task demosaic has no --quality"),
        ({"task": "denoise", "quality": "30"}, "task denoise has no --quality; give its --sigma"),
        ({"task": "jpeg", "subsampling": ("4:2:0",)}, "task jpeg has no chroma subsampling; leave --subsampling out"),
        ({"task": "jpeg", "skip_subsampled": True, "data": ("x",)}, "task jpeg .*leave --skip-subsampled out"),
        ({"task": "denoise-gray", "skip_subsampled": True, "data": ("x",)}, "leave --skip-subsampled out"),
        ({"skip_subsampled": True}, "--skip-subsampled needs --data"),
    ],
)
def test_wrong_values_are_named(wrong, named):
    with pytest.raises(InputError) as caught:
        TrainConfig(**wrong).resolved(False)
    assert re.search(named, with_dashes(str(caught.value)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        "--seed -1",
        "--seed 1099511627776",
        "--learning-rate nan",
        "--clipnorm nan",
        "--warmup-steps -5",
        "--task sr",
        "--level 25",
        "--task denoise --quality 30",
    ],
)
def test_wrong_use_is_one_line_and_2(tmp_path, capsys, flags):
    assert main([*flags.split(), "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_the_subsampling_follows_the_task():
    assert TrainConfig(task="jpeg-color").resolved(False).subsampling == ("4:2:0", "4:4:4")
    assert TrainConfig(task="jpeg-color", subsampling=("4:2:2",)).resolved(False).subsampling == ("4:2:2",)
    assert TrainConfig(task="denoise").resolved(False).subsampling == ()


def test_flags_without_a_value():
    assert parse_arguments(["--skip-subsampled"])[0] == TrainConfig(skip_subsampled=True)
    assert parse_arguments([])[0] == TrainConfig()


def test_arguments_reach_their_fields(tmp_path):
    flags = "--task jpeg-color --quality 5-60 --data a b --steps 7 --learning-rate 2e-4 --loss l2 --precision bfloat16"
    flags += " --subsampling 4:4:4 4:2:2"
    where = "--strategy mirrored --devices CPU:0 CPU:1 --data-service grpc://host:1"
    more = ["--run-dir", str(tmp_path), "--data-changed", "ok"]
    config, placement, run_dir, data_changed = parse_arguments([*flags.split(), *where.split(), *more])
    expected = TrainConfig(
        task="jpeg-color",
        quality="5-60",
        data=("a", "b"),
        steps=7,
        learning_rate=2e-4,
        loss="l2",
        precision="bfloat16",
        subsampling=("4:4:4", "4:2:2"),
    )
    assert config == expected
    assert placement == Placement("mirrored", ("CPU:0", "CPU:1"), "grpc://host:1")
    assert (run_dir, data_changed) == (tmp_path, True)
    assert parse_arguments([])[2:] == (None, False)


@pytest.mark.parametrize(
    "argument",
    [["--task", "blur"], ["--steps", "many"], ["--model", "rnan_huge"], ["--subsampling", "4:1:1"], ["--what"]],
)
def test_wrong_arguments_are_named(argument):
    with pytest.raises(InputError, match=argument[0]):
        parse_arguments(argument)


def test_a_folder_keeps_one_configuration(tmp_path):
    config = TrainConfig().resolved(False)
    config.write(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20_000
    config.check_same(tmp_path)
    with pytest.raises(InputError, match=r"seed 0 there, 1 now.*`run_dir`"):
        dataclasses.replace(config, seed=1).check_same(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"not a readable configuration.*`run_dir`"):
        config.check_same(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"not a configuration.*`run_dir`"):
        config.check_same(tmp_path)
    config.write(tmp_path)  # without a result, any configuration may take the folder
    config.check_same(tmp_path)


def test_a_folder_older_than_some_options_keeps_its_configuration(tmp_path):
    config = TrainConfig(data=("a",)).resolved(False)
    config.write(tmp_path)
    path = tmp_path / "config.json"
    kept = {
        k: v for k, v in json.loads(path.read_text()).items() if k not in ("subsampling", "skip_subsampled", "val_data")
    }
    path.write_text(json.dumps(kept))
    config.check_same(tmp_path)
    # A run from before `busiest_of` kept every piece; a new one without its folder's word does not.
    del kept["busiest_of"]
    path.write_text(json.dumps(kept))
    resumed = TrainConfig(data=("a",)).resolved(False, tmp_path)
    assert (resumed.busiest_of, resumed.optimizer, config.busiest_of) == (1, "muon", 4)
    resumed.check_same(tmp_path)
    with pytest.raises(InputError, match="busiest_of 1 there, 4 now"):
        config.check_same(tmp_path)
    config = resumed
    with pytest.raises(InputError, match="skip_subsampled False there, True now"):
        dataclasses.replace(config, skip_subsampled=True).check_same(tmp_path)


VERSION_0_1 = {"data": [], "val_data": [], "model": "rnan_lite", "steps": 12, "batch_size": 2, "patch_size": 16}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"task": "denoise", "level": "0-75"}, {"task": "denoise", "sigma": "0-75", "model": "rnan_lite"}),
        ({"task": "jpeg", "level": "10"}, {"task": "jpeg", "quality": "10", "model": "rnan_lite"}),
        ({"task": "sr", "level": "3"}, {"task": "sr-x3", "model": "rnan_lite_sr"}),
        ({"task": "demosaic", "level": None}, {"task": "demosaic", "model": "rnan_lite"}),
    ],
)
def test_configurations_of_version_0_1_are_read(tmp_path, old, new):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**VERSION_0_1, **old}))
    config = read_config(path)
    assert config == TrainConfig(**new, steps=12, batch_size=2, patch_size=16, optimizer="adam", busiest_of=1)
    path.write_text(json.dumps({**VERSION_0_1, **old, "optimizer": "muon"}))
    assert read_config(path).optimizer == "muon"


def test_the_names_of_the_photographs_may_differ_where_they_are_known_to_be_the_same(tmp_path):
    config = TrainConfig(data=("a",)).resolved(False)
    config.write(tmp_path)
    renamed = dataclasses.replace(config, data=("/far/a",), val_data=("b",))
    renamed.check_same(tmp_path, same_photographs=True)
    with pytest.raises(InputError, match="data"):
        renamed.check_same(tmp_path)
    with pytest.raises(InputError, match="data"):  # scikit-image's are other photographs than those of a folder
        dataclasses.replace(config, data=()).check_same(tmp_path, same_photographs=True)
