"""`training/train.py` in a process of its own, with a tiny network, so many logical CPU devices, and a log of the losses.

python tests/workers.py NUMBER_OF_CPUS LOSSES.json [arguments of train.py]
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rnan_tf.quiet import import_tensorflow

tf = import_tensorflow()

from rnan_tf.presets import PRESETS
from training.callbacks import StopOnSignal
from training.train import main

TINY = {"filters": 8, "num_blocks": 2, "space_to_depth": 2}


def log_losses(path: Path) -> None:
    """Append the loss of every single batch, not the mean of the epoch so far, to a file."""
    on_train_batch_end = StopOnSignal.on_train_batch_end

    def log(self, batch, logs=None):
        on_train_batch_end(self, batch, logs)
        with path.open("a") as file:
            print(json.dumps(float(logs["loss"])), file=file)
        self.model.reset_metrics()

    StopOnSignal.on_train_batch_end = log


if __name__ == "__main__":
    PRESETS["rnan_lite"] = TINY
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
    log_losses(Path(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
