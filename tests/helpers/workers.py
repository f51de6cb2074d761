"""`training/train.py` in a process of its own: a tiny network, logical CPU devices, a log of what happens.

python tests/helpers/workers.py NUMBER_OF_CPUS LOG [arguments of train.py]

LOG.losses gets the loss of every single batch, not the mean of the epoch so far. LOG.writes gets the files of the run
folder that Python opens for writing, makes, renames or removes.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rnan_tf.quiet import import_tensorflow

tf = import_tensorflow()

from rnan_tf.cli.train import main
from rnan_tf.training.callbacks import StopOnSignal

TINY = Path(__file__).with_name("tiny.json")  # what is shown does not depend on the network's size


def log_losses(path: str) -> None:
    on_train_batch_end = StopOnSignal.on_train_batch_end

    def log(self, batch, logs=None):
        on_train_batch_end(self, batch, logs)
        with open(path, "a") as file:
            print(float(logs["loss"]), file=file)
        self.model.reset_metrics()

    StopOnSignal.on_train_batch_end = log


def log_writes(path: str, folder: str) -> None:
    Path(path).touch()

    def hook(event, arguments):
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.symlink", "os.link")
        if event == "open":
            writes = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and f"{arguments[0]}/".startswith(f"{folder}/"):
            with open(path, "a") as file:
                print(event, arguments[0], file=file)

    sys.addaudithook(hook)


if __name__ == "__main__":
    cpus, log, *arguments = sys.argv[1:]
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(cpus))
    log_losses(f"{log}.losses")
    log_writes(f"{log}.writes", arguments[arguments.index("--run-dir") + 1])
    sys.exit(main(["--recipe", str(TINY), *arguments]))
