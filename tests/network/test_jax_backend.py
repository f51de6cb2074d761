"""The same weights on Keras' JAX backend give the same results. JAX needs a process of its own."""

import numpy as np
import pytest
import tensorflow as tf

from rnan_tf import RNAN
from rnan_tf.network.attention import NORMALIZATIONS, non_local_attention
from tests.helpers.missing import needs

needs("jax")

SIZE = (7, 10)
MODELS = {
    "keys": {"filters": 8, "num_blocks": 2, "chunk_size": 50},
    "queries": {"filters": 8, "num_blocks": 2, "chunk_size": 50, "normalize_over": "queries"},
    "rnan_lite": {"filters": 8, "num_blocks": 2, "space_to_depth": 2, "conditional": True},
}

SCRIPT = """
import json, sys
import jax, keras, numpy as np
import rnan_tf.network.model  # registers the class
from rnan_tf.network.attention import NORMALIZATIONS, non_local_attention

assert keras.backend.backend() == "jax"
folder = sys.argv[1]
x = dict(np.load(f"{folder}/inputs.npz"))
results = {}
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    inputs = {"image": x["image"], "level": x["level"]} if model.conditional else x["image"]
    results[name] = model.predict_on_batch(inputs)
for normalize_over in NORMALIZATIONS:
    loss = lambda theta, phi, g: (non_local_attention(theta, phi, g, normalize_over, 7) * x["dy"]).sum()
    for name, gradient in zip(("theta", "phi", "g"), jax.grad(loss, (0, 1, 2))(x["theta"], x["phi"], x["g"])):
        results[f"{normalize_over} d{name}"] = gradient
np.savez(f"{folder}/results.npz", **results)
print(json.dumps(sorted(results)))
"""


def randomize(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 9)
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(2 * fan_in))
    return model


@pytest.fixture(scope="module")
def results(tmp_path_factory, run_python):
    """{name: (TensorFlow's, JAX's)} of all outputs and gradients, from one run of JAX."""
    folder = tmp_path_factory.mktemp("jax")
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(2, 23, 4)).astype("float32") for name in ("theta", "phi", "g", "dy")}
    x["image"] = rng.random((2, *SIZE, 3), dtype="float32")
    x["level"] = np.array([0.04, 0.28], "float32")
    np.savez(folder / "inputs.npz", **x)
    ours = {}
    for name, arguments in MODELS.items():
        model = randomize(RNAN(**arguments))
        model.save(folder / f"{name}.keras")
        image_and_level = {"image": x["image"], "level": x["level"]}
        ours[name] = np.asarray(model(image_and_level if model.conditional else x["image"]))
    for normalize_over in NORMALIZATIONS:
        inputs = [tf.constant(x[name]) for name in ("theta", "phi", "g")]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = non_local_attention(*inputs, normalize_over, 7)
        for name, gradient in zip(("theta", "phi", "g"), tape.gradient(y, inputs, x["dy"]), strict=True):
            ours[f"{normalize_over} d{name}"] = gradient.numpy()
    # Without optimisation the many small compilations take a third of the time.
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    names = run_python(SCRIPT, folder, *MODELS, **environment)
    assert names == sorted(ours)
    with np.load(folder / "results.npz") as theirs:
        return {name: (ours[name], theirs[name]) for name in names}


@pytest.mark.parametrize("name", [*MODELS, *(f"{n} d{x}" for n in NORMALIZATIONS for x in ("theta", "phi", "g"))])
def test_same_as_tensorflow(results, name):
    ours, theirs = results[name]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(ours).max()  # measured 5e-7 for outputs, 2e-6 for gradients
