"""How fast do one process, two workers and a process that is fed by the data service train the same batches?

Prints the median of the steps and the rates as ratios to one process. All processes run on this machine and share its
cores: two workers show what the cluster costs, not what two machines win.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import keras

from rnan_tf.cli.options import PRIVATE_NETWORK
from rnan_tf.cli.train import parse_arguments
from rnan_tf.training.open_ports import check_ports_are_private
from rnan_tf.training.run import Run
from rnan_tf.training.strategy import is_chief, make_strategy

WARM_UP = 5
DEADLINE = 1200
PRIVATE = ["--i-know-this-network-is-private"]


class StepTimes(keras.callbacks.Callback):
    """Seconds from the end of one step to the end of the next."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return the steps' times after the first few."""
        return [end - start for start, end in zip(self.ends[WARM_UP:-1], self.ends[WARM_UP + 1 :], strict=True)]


def measure(arguments: list[str]) -> None:
    """Train in this process by the arguments of train.py and print the seconds of each step."""
    asked, placement, run_dir, _ = parse_arguments(arguments)
    config = asked.resolved(has_gpu=False)
    strategy = make_strategy(placement, config.batch_size)
    times = StepTimes()
    with Run.open(config, run_dir, strategy, placement.data_service) as run:
        run.network.fit(run.batches(0), steps_per_epoch=config.steps, shuffle=False, verbose=0, callbacks=[times])
    if is_chief(strategy):
        print(json.dumps(times.seconds()))


def run_workers(count: int, arguments: list[str]) -> float:
    """Run processes that train together; return the median seconds of a step."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
        stack.close()
        command = [sys.executable, __file__, "--measure", *arguments, *PRIVATE, "--run-dir", f"{folder}/run"]
        processes = []
        try:
            for i in range(count):
                tf_config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
                environment = {**os.environ, "TF_CONFIG": tf_config}
                processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
            output = processes[0].communicate(timeout=DEADLINE)[0]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return statistics.median(json.loads(output.splitlines()[-1]))


@contextlib.contextmanager
def data_service(workers: int):
    """Start a data service and yield its address."""
    command = [sys.executable, ROOT / "training" / "data_workers.py", "--workers", str(workers), *PRIVATE]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield service.stdout.readline().split()[-1]
    finally:
        service.terminate()
        service.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(*PRIVATE, action="store_true", help=PRIVATE_NETWORK)
    parser.add_argument("--task", default="denoise")
    parser.add_argument("--model", default="rnan_lite")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--patch-size", type=int, default=48)
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args()
    check_ports_are_private(args.__dict__.pop("i_know_this_network_is_private"))
    asked = {**vars(args), "steps": args.steps + WARM_UP}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    print(f"{args.task}, {args.model}, {args.batch_size} patches of {args.patch_size}x{args.patch_size} a step")
    print(f"all processes share the {os.cpu_count()} cores of this machine", flush=True)
    base = None
    for name, workers, served in (("one process", 1, 0), ("two workers", 2, 0), ("one, data service of 2", 1, 2)):
        with data_service(served) if served else contextlib.nullcontext() as address:
            seconds = run_workers(workers, [*flags, f"--data-service={address}"] if served else flags)
        base = base or seconds
        rates = f"{1 / seconds:7.3f} steps/s {args.batch_size / seconds:8.1f} patches/s"
        print(f"{name:22s} {rates} {base / seconds:6.2f} of one process", flush=True)


if __name__ == "__main__":
    measure(sys.argv[2:]) if sys.argv[1:2] == ["--measure"] else main()
