"""RNAN-TF: Residual Non-local Attention Networks for image restoration, for TensorFlow and Keras."""

__version__ = "0.1.0"


def __getattr__(name):
    # Importing Keras takes seconds, which `rnan-tf --help` need not wait for.
    if name == "RNAN":
        from rnan_tf.network.model import RNAN

        return RNAN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
