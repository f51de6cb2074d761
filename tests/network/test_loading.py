"""rnan_tf.network.loading: models by name, safely, and saved so that a failure costs nothing."""

import errno
import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from rnan_tf.errors import InputError, JobError
from rnan_tf.network.attention import CHUNK_SIZE
from rnan_tf.network.loading import load_model, save_model
from rnan_tf.network.model import RNAN, least_parameters
from rnan_tf.restoring.card import ModelCard
from rnan_tf.tasks.task import get_task

METADATA = ModelCard.of_task(get_task("denoise"), (0, 75), False, details={"steps": 7}).to_dict()


def tiny(**kwargs):
    return RNAN(**{"filters": 4, "num_blocks": 2, "metadata": METADATA, **kwargs})


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def rewrite_config(source, target, change, compression=zipfile.ZIP_STORED):
    """Copy a .keras file with another config.json."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(data))) if name == "config.json" else data)
    return target


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    save_model(model, path)
    return path


@pytest.fixture
def lambda_file(tmp_path, monkeypatch):
    """A Keras model with a Lambda layer that leaves a mark when its function runs."""
    monkeypatch.chdir(tmp_path)
    image = keras.Input((None, None, 3))
    run = keras.layers.Lambda(lambda x: [open("mark", "w"), x][1], output_shape=(None, None, 3))  # noqa: SIM115
    keras.Model(image, run(image)).save(tmp_path / "lambda.keras")
    (tmp_path / "mark").unlink(missing_ok=True)
    return tmp_path / "lambda.keras"


class TestLoad:
    def test_file_and_run_folder(self, model, saved):
        for source in (saved, str(saved), saved.parent):
            loaded = load_model(source)
            assert type(loaded) is RNAN and loaded.metadata == METADATA
            assert_same_weights(loaded, model)

    @pytest.mark.parametrize("changes", [{"dtype": "mixed_bfloat16"}, {"input_size": (16, 16)}, {"chunk_size": 10**6}])
    def test_trained_otherwise_restores_in_float32_at_any_size(self, tmp_path, changes):
        trained = tiny(**changes)
        save_model(trained, tmp_path / "m.keras")
        loaded = load_model(tmp_path / "m.keras")
        assert (loaded.input_size, loaded.chunk_size, loaded.metadata) == (None, CHUNK_SIZE, METADATA)
        assert all(layer.compute_dtype == "float32" for layer in loaded.layers)
        assert loaded(np.zeros((1, 6, 9, 3), "float32")).shape == (1, 6, 9, 3)
        assert_same_weights(loaded, trained)

    @pytest.mark.parametrize(
        "name, content, message",
        [
            ("missing.keras", None, "no such model"),
            ("folder", "mkdir", "no best.keras in this folder"),
            ("weights.pt", b"PK", "rnan-tf convert"),
            ("text.keras", b"I am no model", "not a Keras model that can be loaded"),
            ("empty.keras", b"", "not a Keras model that can be loaded"),
        ],
    )
    def test_no_model(self, tmp_path, name, content, message):
        path = tmp_path / name
        if content == "mkdir":
            path.mkdir()
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.*{message}") as caught:
            load_model(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
    def test_cut_short(self, saved, tmp_path, kept):
        data = saved.read_bytes()
        (tmp_path / "m.keras").write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(InputError, match=r"m\.keras: not a Keras model"):
            load_model(tmp_path / "m.keras")

    @pytest.mark.parametrize("group", ["trunk", "mask/rb2/residual_block", "conv"])
    def test_missing_weights_are_not_made_up(self, saved, tmp_path, group, recwarn):
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
            weights = io.BytesIO(old.read("model.weights.h5"))
            with h5py.File(weights, "r+") as file:
                del file[f"layers/residual_attention_block/{group}"]
            new.writestr("model.weights.h5", weights.getvalue())
            new.writestr("config.json", old.read("config.json"))
            new.writestr("metadata.json", old.read("metadata.json"))
        with pytest.raises(InputError, match=r"m\.keras: not a Keras model that can be loaded .*could not be loaded"):
            load_model(tmp_path / "m.keras")
        assert not [warning for warning in recwarn if "Skipping" in str(warning.message)]

    def test_a_model_that_was_compiled(self, model, tmp_path):
        compiled = model.rebuild()
        compiled.compile("adam", "mae")
        compiled.optimizer.build(compiled.trainable_variables)
        compiled.save(tmp_path / "m.keras")
        assert_same_weights(load_model(tmp_path / "m.keras"), model)

    def test_a_zip_without_a_model(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("readme.txt", "nothing")
        with pytest.raises(InputError, match=r"not a Keras model that can be loaded.*config\.json"):
            load_model(tmp_path / "m.keras")

    @pytest.mark.parametrize("change", [{"filters": 8}, {"num_blocks": 1}, {"unknown": 1}, {"metadata": [1]}])
    def test_a_configuration_that_does_not_fit(self, saved, tmp_path, change):
        path = rewrite_config(
            saved, tmp_path / "m.keras", lambda config: config | {"config": config["config"] | change}
        )
        with pytest.raises(InputError, match="not a Keras model that can be loaded"):
            load_model(path)

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"filters": 400}, "it describes 69,443,600 weights or more, and holds at most"),
            ({"num_blocks": 10**9}, "weights or more"),
            ({"space_to_depth": 10**4}, "weights or more"),
            ({"filters": "many"}, "must be whole numbers; they are \\['many', 2, 1\\]"),
            ({"metadata": {"note": "x" * 2**20}}, "its config.json has more than 1,048,576 bytes"),
            ({"metadata": {"note": "x" * 2**24}}, "bytes that would inflate to 17,"),
        ],
        ids=str,
    )
    def test_a_small_file_that_would_take_much_memory(self, saved, tmp_path, monkeypatch, change, message):
        path = rewrite_config(
            saved,
            tmp_path / "m.keras",
            lambda config: config | {"config": config["config"] | change},
            zipfile.ZIP_DEFLATED,
        )
        monkeypatch.setattr(keras.saving, "load_model", None)  # nothing is built
        with pytest.raises(InputError, match=rf"m\.keras: not a Keras model that can be loaded \(.*{message}"):
            load_model(path)
        monkeypatch.undo()
        assert load_model(saved)

    @pytest.mark.parametrize("filters, num_blocks", [(2, 2), (4, 3), (64, 10)])
    @pytest.mark.parametrize("changes", [{"channels": 1}, {"space_to_depth": 2}, {"scale": 2}], ids=str)
    def test_no_network_has_fewer_weights_than_the_least(self, filters, num_blocks, changes):
        count = RNAN(filters=filters, num_blocks=num_blocks, **changes).count_params()
        least = least_parameters(filters, num_blocks, changes.get("space_to_depth", 1))
        assert 0.75 * count < least <= count

    def test_another_keras_model(self, tmp_path):
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
        with pytest.raises(InputError, match=r"m\.keras: a Keras model, but not an RNAN \(Sequential\)"):
            load_model(tmp_path / "m.keras")


class TestLambda:
    def test_keras_would_run_it(self, lambda_file, tmp_path):
        """The threat is real: what the other tests see refused leaves its mark in unsafe mode."""
        keras.saving.load_model(lambda_file, safe_mode=False)(np.zeros((1, 2, 2, 3)))
        assert (tmp_path / "mark").exists()

    @pytest.mark.parametrize(
        "disguise",
        [
            {},
            {"class_name": "RNAN"},
            {"class_name": "RNAN", "module": "rnan_tf.network.model", "registered_name": "rnan_tf>RNAN"},
            {"class_name": "RNAN", "module": "keras", "registered_name": "Functional"},
        ],
    )
    def test_refused(self, lambda_file, tmp_path, disguise):
        path = rewrite_config(lambda_file, tmp_path / "m.keras", lambda config: config | disguise)
        with pytest.raises(InputError, match=r"m\.keras: "):
            load_model(path)
        assert not (tmp_path / "mark").exists()

    @pytest.mark.parametrize("argument", ["metadata", "dtype", "name"])
    def test_an_argument_of_rnan_stays_data(self, saved, lambda_file, tmp_path, argument):
        with zipfile.ZipFile(lambda_file) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        layer = next(layer for layer in layers if layer["class_name"] == "Lambda")
        path = rewrite_config(
            saved, tmp_path / "m.keras", lambda config: config | {"config": config["config"] | {argument: layer}}
        )
        if argument == "metadata":
            assert load_model(path).metadata == layer
        elif argument == "dtype":  # is not the file's to choose
            assert all(layer.compute_dtype == "float32" for layer in load_model(path).layers)
        else:
            with pytest.raises(InputError, match="not a Keras model that can be loaded"):
                load_model(path)
        assert not (tmp_path / "mark").exists()


class TestSave:
    def test_a_failure_leaves_the_old_file(self, model, saved, monkeypatch):
        before = saved.read_bytes()

        def save(self, path):
            path.write_bytes(before[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(RNAN, "save", save)
        with pytest.raises(JobError, match=r"best\.keras: cannot be written \(No space left on device\)"):
            save_model(model, saved)
        assert saved.read_bytes() == before and [path.name for path in saved.parent.iterdir()] == ["best.keras"]

    @pytest.mark.parametrize("place", ["missing/m.keras", "file/m.keras"])
    def test_impossible_places(self, model, tmp_path, place):
        (tmp_path / "file").touch()
        with pytest.raises(JobError, match=r"m\.keras: cannot be written"):
            save_model(model, tmp_path / place)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
