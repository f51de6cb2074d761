"""rnan_tf.training.config: what is left open is filled in, what is wrong is said in one line."""

import dataclasses
import json

import pytest

from rnan_tf.cli.train import parse_arguments
from rnan_tf.errors import InputError
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.strategy import Placement


@pytest.mark.parametrize(("has_gpu", "model"), [(True, "rnan"), (False, "rnan_lite")])
def test_the_model_follows_the_machine(has_gpu, model):
    assert TrainConfig().resolved(has_gpu).model == model
    assert TrainConfig(model="rnan_lite").resolved(has_gpu).model == "rnan_lite"


@pytest.mark.parametrize(
    ("task", "model", "loss"),
    [("denoise", "rnan", "l2"), ("sr", "rnan", "l1"), ("denoise", "rnan_lite", "l1"), ("jpeg", "rnan", "l2")],
)
def test_the_loss_follows_task_and_model(task, model, loss):
    assert TrainConfig(task=task, model=model).resolved(False).loss == loss
    assert TrainConfig(task=task, model=model, loss="l2").resolved(False).loss == "l2"


@pytest.mark.parametrize(
    ("task", "model", "size"), [("sr", "rnan_lite", 24), ("sr", "rnan", 48), ("jpeg", "rnan_lite", 48)]
)
def test_the_patch_size_follows_task_and_model(task, model, size):
    assert TrainConfig(task=task, model=model).resolved(False).patch_size == size
    assert TrainConfig(task=task, model=model, patch_size=32).resolved(False).patch_size == 32


def test_every_open_field_but_init_is_filled_in():
    config = TrainConfig(task="denoise").resolved(False)
    assert config.level == "50"
    assert [name for name, value in dataclasses.asdict(config).items() if value is None] == ["init"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"steps": 0}, "--steps"),
        ({"batch_size": 0}, "--batch-size"),
        ({"patch_size": 47}, "--patch-size"),
        ({"patch_size": 4}, "--patch-size"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"val_data": ("x",)}, "--val-data"),
        ({"task": "denoise", "level": "80"}, "80"),
        ({"task": "sr", "level": "2-4"}, "2-4"),
        ({"task": "demosaic", "level": "3"}, "no level"),
        ({"task": "jpeg", "subsampling": ("4:2:0",)}, "task jpeg has no chroma subsampling; leave --subsampling out"),
        ({"task": "jpeg", "skip_subsampled": True, "data": ("x",)}, "task jpeg .*leave --skip-subsampled out"),
        ({"task": "denoise-gray", "skip_subsampled": True, "data": ("x",)}, "leave --skip-subsampled out"),
        ({"skip_subsampled": True}, "--skip-subsampled needs --data"),
    ],
)
def test_wrong_values_are_named(wrong, named):
    with pytest.raises(InputError, match=named) as caught:
        TrainConfig(**wrong).resolved(False)
    assert "\n" not in str(caught.value)


def test_the_subsampling_follows_the_task():
    assert TrainConfig(task="jpeg-color").resolved(False).subsampling == ("4:2:0", "4:4:4")
    assert TrainConfig(task="jpeg-color", subsampling=("4:2:2",)).resolved(False).subsampling == ("4:2:2",)
    assert TrainConfig(task="denoise").resolved(False).subsampling == ()


def test_flags_without_a_value():
    assert parse_arguments(["--skip-subsampled"])[0] == TrainConfig(skip_subsampled=True)
    assert parse_arguments([])[0] == TrainConfig()


def test_arguments_reach_their_fields(tmp_path):
    flags = "--task sr --level 3 --data a b --steps 7 --learning-rate 2e-4 --loss l2 --precision bfloat16"
    flags += " --subsampling 4:4:4 4:2:2"
    where = "--strategy mirrored --devices CPU:0 CPU:1 --data-service grpc://host:1"
    config, placement, run_dir = parse_arguments([*flags.split(), *where.split(), "--run-dir", str(tmp_path)])
    expected = TrainConfig(
        task="sr",
        level="3",
        data=("a", "b"),
        steps=7,
        learning_rate=2e-4,
        loss="l2",
        precision="bfloat16",
        subsampling=("4:4:4", "4:2:2"),
    )
    assert config == expected
    assert placement == Placement("mirrored", ("CPU:0", "CPU:1"), "grpc://host:1")
    assert run_dir == tmp_path


@pytest.mark.parametrize(
    "argument",
    [["--task", "blur"], ["--steps", "many"], ["--model", "rnan_huge"], ["--subsampling", "4:1:1"], ["--what"]],
)
def test_wrong_arguments_are_named(argument):
    with pytest.raises(InputError, match=argument[0]):
        parse_arguments(argument)


def test_a_folder_keeps_one_configuration(tmp_path):
    config = TrainConfig().resolved(False)
    config.write(tmp_path, started=False)
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20_000
    config.write(tmp_path, started=True)
    with pytest.raises(InputError, match=r"seed 0 there, 1 now.*--run-dir"):
        dataclasses.replace(config, seed=1).write(tmp_path, started=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not a readable configuration"):
        config.write(tmp_path, started=True)
    config.write(tmp_path, started=False)  # without a result, any configuration may take the folder
    config.write(tmp_path, started=True)


def test_a_folder_older_than_some_options_keeps_its_configuration(tmp_path):
    config = TrainConfig(data=("a",)).resolved(False)
    config.write(tmp_path, started=False)
    path = tmp_path / "config.json"
    kept = {
        k: v for k, v in json.loads(path.read_text()).items() if k not in ("subsampling", "skip_subsampled", "val_data")
    }
    path.write_text(json.dumps(kept))
    config.write(tmp_path, started=True)
    with pytest.raises(InputError, match="skip_subsampled False there, True now"):
        dataclasses.replace(config, skip_subsampled=True).write(tmp_path, started=True)
