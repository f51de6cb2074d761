"""What is not finite never reaches weights, moments or averages, and a run that diverges goes back, then gives up."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnan_tf.training.run
from rnan_tf.cli.train import main
from rnan_tf.training.callbacks import ProgressBar
from rnan_tf.training.checkpoints import Progress
from rnan_tf.training.compilation import compile_model, inner_optimizer
from rnan_tf.training.config import TrainConfig
from rnan_tf.training.divergence import Diverged, Guard
from rnan_tf.training.run import Run
from rnan_tf.training.train_step import TrainedRNAN

TINY_RECIPE = Path(__file__).parents[1] / "helpers" / "tiny.json"
TINY = json.loads(TINY_RECIPE.read_text())["network"]


@pytest.fixture(scope="module")
def batches():
    draw = np.random.default_rng(0)
    return tuple(draw.random((4, 2, 16, 16, 3), np.float32) for _ in range(2))


def compiled(precision="float32"):
    keras.utils.set_random_seed(0)
    model = TrainedRNAN(**TINY, dtype="mixed_float16" if precision == "float16" else None)
    compile_model(model, TrainConfig(model="rnan_lite", steps=100, warmup_steps=0, precision=precision).resolved(False))
    return model


def fit(model, x, y, *callbacks):
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    return model.fit(dataset, shuffle=False, verbose=0, callbacks=list(callbacks)).history


def state(model):
    variables = [*model.weights, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]


@pytest.fixture(scope="module")
def model():
    return compiled()


@pytest.fixture(scope="module")
def initial(model):
    return [np.array(variable) for variable in (*model.weights, *model.optimizer.variables)]


def reset(model, initial):
    for variable, value in zip((*model.weights, *model.optimizer.variables), initial, strict=True):
        variable.assign(value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["image", "truth"])  # of an infinite truth, the L1 loss has a finite gradient
@pytest.mark.parametrize("bad", [0, 2])  # at first, where the average of the weights begins, and later
def test_a_bad_step_is_as_if_it_had_not_been(model, initial, batches, value, where, bad):
    x, y = (array.copy() for array in batches)
    (x if where == "image" else y)[bad, 1, 3, 4, 0] = value
    reset(model, initial)
    progress = Progress()
    history = fit(model, x, y, Guard(progress, 10))
    after = state(model)
    assert (progress.dropped, progress.bad_in_a_row) == (1, 0)

    reset(model, initial)
    good = [i for i in range(4) if i != bad]
    expected = fit(model, *(array[good] for array in batches))
    assert int(inner_optimizer(model).iterations) == 3
    assert after == state(model)
    assert history == expected  # and the metrics are those of the good steps


def test_a_bad_step_changes_no_bit(model, initial, batches):
    reset(model, initial)
    fit(model, *batches)
    before = state(model)
    fit(model, np.full_like(batches[0][:2], np.nan), batches[1][:2], Guard(Progress(), 3))
    assert state(model) == before


def test_steps_in_a_row_end_the_fit(model, initial, batches):
    reset(model, initial)
    x = batches[0].copy()
    x[[0, 2, 3]] = np.nan
    progress = Progress()
    with pytest.raises(Diverged):
        fit(model, x, batches[1], Guard(progress, 2))
    assert (progress.dropped, progress.bad_in_a_row) == (3, 2)


@pytest.mark.slow
def test_float16_may_overflow_while_its_scale_settles(batches):
    model, progress = compiled("float16"), Progress()
    model.optimizer.dynamic_scale.assign(2.0**100)  # overflows in any gradient
    fit(model, *batches, Guard(progress, 1))
    assert (progress.dropped, progress.bad_in_a_row) == (4, 0)
    model.optimizer.dynamic_scale.assign(1.0)
    before = [np.array(weight).tobytes() for weight in model.weights]
    with pytest.raises(Diverged):
        fit(model, batches[0] * np.nan, batches[1], Guard(progress, 3))
    assert progress.dropped == 7
    assert [np.array(weight).tobytes() for weight in model.weights] == before


def losses_seen(losses, progress=None):
    """Let a guard see steps with these losses; return its progress."""
    progress = progress or Progress()
    guard = Guard(progress, 10)
    guard.applied = 0
    for step, loss in enumerate(losses, 1):
        guard.on_train_batch_end(0, {"step_loss": loss, "applied_steps": step})
    return progress


def test_a_loss_far_above_its_median_for_many_steps_is_divergence():
    losses = [0.02, 0.03, 0.04] * 20
    progress = losses_seen([*losses, *[0.4] * 49])  # the median is 0.03
    assert progress.high_in_a_row == 49
    again = Progress(losses=list(progress.losses), high_in_a_row=49)  # out of a checkpoint
    with pytest.raises(Diverged, match="50 steps in a row had a loss above 10 times its median"):
        losses_seen([0.4], again)
    losses_seen([0.29], progress)
    assert progress.high_in_a_row == 0
    losses_seen([0.29] * 200, progress)  # high, but less than ten times: a worse run, not a diverged one
    assert progress.high_in_a_row == 0 and len(progress.losses) == 101


@pytest.mark.slow
def test_at_too_high_a_rate_muon_goes_back_and_then_gives_up(photographs, tmp_path, capsys):
    arguments = "--model rnan_lite --batch-size 2 --patch-size 16 --validate-every 20 --steps 400 --warmup-steps 40"
    run = [*arguments.split(), "--learning-rate", "0.1", "--data", str(photographs), "--run-dir", str(tmp_path)]
    run += ["--recipe", str(TINY_RECIPE)]
    assert main(run) == 1
    captured = capsys.readouterr()
    assert "50 steps in a row had a loss above 10 times its median up to step" in captured.out
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("error: 50 steps in a row had a loss above 10 times its median")
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        progress = json.loads((checkpoint / "progress.json").read_text())
        assert progress["dropped"] == 0 and progress["high_in_a_row"] == 0


def poisoned_run(photographs, run_dir, monkeypatch, fits):
    """Train 6 steps; `fits`: the steps that are poisoned in each fit. Return exit code and the rates of all steps."""
    batches, fits, rates = rnan_tf.training.run.patch_batches, iter(fits), []

    def poisoned(files, spec, batch_size, first_step, **options):
        bad = tf.constant([*next(fits, [])], tf.int64)

        def spoil(i, batch):
            return batch[0], tf.where(tf.reduce_any(bad == i + first_step + 1), float("nan"), batch[1])

        return batches(files, spec, batch_size, first_step, **options).enumerate().map(spoil)

    def record(self, batch, logs=None):
        rates.append(float(self.model.optimizer.learning_rate))

    monkeypatch.setattr(rnan_tf.training.run, "patch_batches", poisoned)
    monkeypatch.setattr(ProgressBar, "on_train_batch_begin", record)
    arguments = "--model rnan_lite --batch-size 2 --patch-size 16 --validate-every 2 --steps 6 --max-bad-steps 2"
    arguments += f" --recipe {TINY_RECIPE}"
    code = main([*arguments.split(), "--schedule", "step", "--data", str(photographs), "--run-dir", str(run_dir)])
    return code, rates


@pytest.mark.slow
def test_a_run_goes_back_and_halves_the_rate_once(photographs, tmp_path, monkeypatch, capsys):
    # From step 4 on, across a validation: the checkpoint to go back to is that of step 2, from before.
    code, rates = poisoned_run(photographs, tmp_path, monkeypatch, [[1, 4, 5]])
    assert code == 0
    captured = capsys.readouterr()
    assert "up to step 5; going back to step 2 at half the learning rate" in captured.out
    assert "dropped=3" in captured.err
    full, half = rates[:5], rates[5:]
    assert len(half) == 4
    assert half[0] == full[2] / 2
    progress = json.loads((tmp_path / "checkpoints" / "step-000000006" / "progress.json").read_text())
    assert (progress["dropped"], progress["bad_in_a_row"], progress["rollbacks"]) == (3, 0, 1)
    assert [(row["step"], row["dropped"]) for row in progress["history"]] == [(2, 1), (4, 3), (6, 3)]
    assert all(np.isfinite(row["loss"]) and row["loss"] > 0 for row in progress["history"])


def test_a_run_that_goes_back_remembers_its_best(tmp_path, monkeypatch):
    """Another network, worse than best.keras, would take its place."""
    monkeypatch.setattr(rnan_tf.training.run, "restore_progress", lambda *_: Progress(step=2, best=30.0))
    run = Run(None, None, None, tmp_path, progress=Progress(step=4, best=40.0))
    run._roll_back("a test")
    assert run.progress == Progress(step=2, best=40.0, rollbacks=1)


@pytest.mark.slow
def test_a_run_that_diverges_again_fails_with_1(photographs, tmp_path, monkeypatch, capsys):
    code, _ = poisoned_run(photographs, tmp_path, monkeypatch, [[1, 2], [5, 6]])
    assert code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: 2 steps in a row had a NaN or infinite loss or gradient up to step 6")
    assert "--learning-rate" in last and str(tmp_path) in last
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-000000002", "step-000000004"]
