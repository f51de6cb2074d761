"""Fixtures that test modules share. It is imported before TensorFlow, whose log level is read at import."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "0")  # TensorFlow's choice; commands would set it for later tests

pytest.register_assert_rewrite("tests.helpers.image_samples")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def run_python():
    """Run a script in a fresh interpreter and return the JSON that its last line prints."""

    def run(script, *args, **environment):
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def start_python():
    """Start `python ARGUMENTS...` with its output in a file; what still runs at the end of the module is killed."""
    started = []

    def start(output, *arguments, **environment):
        with open(output, "w") as file:
            started.append(
                subprocess.Popen(
                    [sys.executable, *map(str, arguments)],
                    cwd=ROOT,
                    env={**os.environ, **environment},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def run_jax(tmp_path_factory):
    """Run `python ARGUMENTS... --backend jax` in a process of its own, with JAX's log of compilations on stderr."""
    cache = tmp_path_factory.mktemp("compiled")  # the processes' networks are the same, and compiling takes longest

    def run(*arguments, devices=1):
        flags = f"--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={devices}"
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "JAX_PLATFORMS": "cpu",
            "JAX_LOG_COMPILES": "1",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLA_FLAGS": flags,
        }
        return subprocess.run(
            [sys.executable, *map(str, arguments), "--backend", "jax"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of small pieces of real photographs to train on."""
    import skimage.data
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    for i, image in enumerate((skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee())):
        Image.fromarray(image[80:152, 60:136]).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def data_folder():
    """The test sets and the reference's image pairs, which are not in the repository (see RNAN_DATA in the message)."""
    folder = Path(os.environ.get("RNAN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "reference_pairs").is_dir() or not (folder / "test").is_dir():
        pytest.skip(f"{folder} has no reference_pairs/ and test/; set RNAN_DATA to the folder that has them")
    return folder


# === The command line ===


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of untrained models, one a task and `untold.keras`, which does not say its task."""
    import keras

    from rnan_tf.network.loading import save_model
    from rnan_tf.network.model import RNAN
    from rnan_tf.restoring.card import ModelCard
    from rnan_tf.tasks.task import get_task
    from tests.helpers.command_line import MODELS

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    for name, (arguments, strengths) in MODELS.items():
        conditional = arguments.get("conditional", False)
        card = ModelCard.of_task(get_task(name), strengths, conditional, details={"steps": 12})
        model = RNAN(filters=4, num_blocks=2, metadata=card.to_dict(), **arguments)
        save_model(model, folder / f"{name}.keras")
    save_model(RNAN(filters=4, num_blocks=2), folder / "untold.keras")
    return folder


@pytest.fixture(scope="session")
def load_once():
    from rnan_tf.network.loading import load_model

    cached = functools.cache(load_model)
    # A relative name is another file in another test's folder.
    return lambda source: cached(str(source)) if Path(source).is_absolute() else load_model(source)


@pytest.fixture
def workplace(tmp_path, monkeypatch, load_once):
    """An empty current folder; each model is loaded once for all tests, because building it takes a second."""
    from rnan_tf.network import loading
    from rnan_tf.restoring.runtimes import keras as keras_runtime

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_model", load_once)
    monkeypatch.setattr(keras_runtime, "load_model", load_once)
    return tmp_path


@pytest.fixture
def rnan_tf(workplace, capsys, models):
    """Run the command line: (exit code, lines on stdout, lines on stderr). `M/` stands for the models' folder."""
    from rnan_tf import cli

    def run(line, *more):
        arguments = [word.replace("M/", f"{models}/") for word in line.split()] + list(more)
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def refused(rnan_tf, workplace):
    """Run what must fail: one line on stderr that matches, and no file made or changed."""

    def run(line, code, *parts):
        before = tree(workplace)
        result, _, err = rnan_tf(line)
        assert len(err) == 1 and err[0].startswith("error: "), err
        for part in parts:
            assert part in err[0]
        assert result == code
        assert tree(workplace) == before

    return run


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# === Images to cut patches of ===


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Five photographs of different kinds and sizes."""
    import numpy as np
    import skimage.data

    from tests.helpers.patches import save

    folder = tmp_path_factory.mktemp("photos")
    save(folder / "astronaut.png", skimage.data.astronaut()[:90, 180:260])
    save(folder / "camera.png", skimage.data.camera()[100:181, 200:299])  # gray
    save(folder / "chelsea.png", skimage.data.chelsea()[80:180, 120:220])
    save(folder / "coffee.jpg", skimage.data.coffee()[100:200, 200:333], quality=95)
    alpha = skimage.data.astronaut()[200:300, 100:185, :1]
    save(folder / "rgba.png", np.concatenate([skimage.data.astronaut()[200:300, 100:185], alpha], axis=2))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def maps(tmp_path_factory):
    """Images whose pixels say where they are: (y, x, 80 * number)."""
    import numpy as np

    from tests.helpers.patches import MAP_SIZES, save

    folder = tmp_path_factory.mktemp("maps")
    for number, (height, width) in enumerate(MAP_SIZES):
        y, x = np.mgrid[:height, :width]
        save(folder / f"{number}.png", np.stack([y, x, np.full_like(y, 80 * number)], axis=2).astype(np.uint8))
    return sorted(folder.iterdir())


# === Exports ===


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Save a task's model as a SavedModel, once: (Keras model, folder, its signatures)."""
    from tests.helpers.saved_models import export

    return functools.cache(lambda name: export(name, tmp_path_factory.mktemp(name) / "1"))


@pytest.fixture(scope="session")
def demosaic():
    """(a small demosaicing network, its TFLite content with its card, the same without)."""
    from rnan_tf.export.tflite import exporting as export_tflite
    from rnan_tf.restoring.card import card_of
    from tests.helpers.tflite_networks import LITE, TILE, random_model

    model = random_model(**LITE)
    content = export_tflite.convert(model, TILE)
    return model, export_tflite.add_card(content, card_of(model, "demosaic")), content
