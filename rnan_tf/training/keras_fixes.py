"""What Keras gets wrong over several replicas, put right. Small, and tested with the Keras versions in `TESTED`."""

import sys

import keras
import tensorflow as tf

from rnan_tf.errors import InputError

TESTED = ("3.15",)


def fix_fit_of_several_workers() -> None:
    """Make `fit` run under `MultiWorkerMirroredStrategy`: https://github.com/keras-team/keras/issues/20585.

    Raises:
        InputError: this Keras lacks the functions that are to be mended.
    """
    advice = (
        f"training over several workers was tested with Keras {', '.join(TESTED)}, this is {keras.__version__}: "
        f"install 'keras=={TESTED[-1]}.*'"
    )
    try:
        from keras.src.backend.tensorflow import trainer

        reduce_per_replica, _ = trainer.reduce_per_replica, trainer.TensorFlowTrainer._maybe_symbolic_build
    except (ImportError, AttributeError) as error:
        raise InputError(advice) from error
    if keras.__version__.rsplit(".", 1)[0] not in TESTED:
        print(
            f"warning: {advice}, or see first whether `pytest tests/training/test_strategy.py` passes", file=sys.stderr
        )

    def reduce_scalars(values, strategy, reduction):
        # Keras reduces over axis 0 of the metrics' results, which have none.
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return reduce_per_replica(values, strategy, reduction)

    def built_already(model, iterator=None, data_batch=None):
        # Keras fails to average a batch over the workers, of which it wants the shapes to build the model.
        if not (model.built and model.optimizer.built):
            raise RuntimeError("a model must be built before it is trained by several workers")

    trainer.reduce_per_replica = reduce_scalars
    trainer.TensorFlowTrainer._maybe_symbolic_build = built_already
