"""rnan_tf.extras: what is said where an optional package is missing."""

import importlib.util

import pytest

from rnan_tf import extras
from rnan_tf.errors import InputError


@pytest.fixture
def without(monkeypatch):
    """Hide packages."""

    def hide(*names):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: None if name in names else importlib.util.spec_from_loader(name, None),
        )

    return hide


@pytest.mark.parametrize("extra", ["tflite", "onnx", "raw", "serving", "train"])
def test_nothing_is_said_where_all_is_there(without, extra):
    without()
    extras.check_extra(extra)


@pytest.mark.parametrize(
    ("extra", "missing", "message"),
    [
        ("tflite", ["ai_edge_quantizer"], "ai_edge_quantizer not installed: pip install 'rnan-tf[tflite]'"),
        ("onnx", ["onnx", "tf2onnx"], "onnx, tf2onnx not installed: pip install 'rnan-tf[onnx]'"),
        ("jax", ["jax"], "jax not installed: pip install 'rnan-tf[jax]'"),
        ("raw", ["rawpy"], "rawpy not installed: pip install 'rnan-tf[raw]'"),
        ("serving", ["tensorflow_serving"], "tensorflow_serving not installed: pip install 'rnan-tf[serving]'"),
        ("train", ["matplotlib", "tensorboard"], "matplotlib, tensorboard not installed: pip install 'rnan-tf[train]'"),
    ],
)
def test_what_is_missing_is_named(without, extra, missing, message):
    without(*missing)
    with pytest.raises(InputError) as caught:
        extras.check_extra(extra)
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        extras.check_extra(extra, "the report")
    assert str(caught.value) == f"the report: {message}"


def test_another_extras_packages_do_not_matter(without):
    without("matplotlib", "onnxruntime")
    extras.check_extra("tflite")


def test_the_extras_are_those_of_the_package():
    from importlib.metadata import metadata

    assert set(extras._MODULES) <= set(metadata("rnan-tf").get_all("Provides-Extra") or extras._MODULES)
