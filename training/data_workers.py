"""Degrade patches for training on this machine: `python training/data_workers.py --port 5050 --workers 4`.

It starts a dispatcher of TensorFlow's data service and workers, each a process of its own; Ctrl-C or SIGTERM ends them.
On further machines, or to replace workers, `--join grpc://host:port` starts workers for a dispatcher that runs already.
All of them listen on all interfaces of the machine, and whoever reaches their ports runs graphs with your rights.
"""

import argparse
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.cli.options import PRIVATE_NETWORK
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command
from rnan_tf.quiet import import_tensorflow
from rnan_tf.training.open_ports import check_ports_are_private

# After so long a silence trainers stop asking a worker; the others do its work meanwhile.
WORKER_TIMEOUT_MS = 20_000


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        InputError: an argument is unknown or not of its kind.
    """
    parser = Parser(prog="data_workers.py", description="Degrade patches for training on this machine.")
    parser.add_argument("--port", type=int, default=0, help="of the dispatcher (a free one)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument("--host", default="localhost", help="this machine's name to the others (%(default)s)")
    parser.add_argument("--join", metavar="ADDRESS", help="grpc://host:port of a dispatcher that runs already")
    parser.add_argument("--i-know-this-network-is-private", action="store_true", help=PRIVATE_NETWORK)
    arguments = parser.parse_args(argv)
    if arguments.workers < 1 or not 0 <= arguments.port < 65536:
        raise InputError("--workers must be at least 1, and --port from 0 to 65535")
    return arguments


@command
def main(argv: list[str] | None = None) -> int:
    """Start the processes, print where they are, and wait for a signal to end them."""
    arguments = parse_arguments(argv)
    check_ports_are_private(arguments.i_know_this_network_is_private)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    import_tensorflow()
    from rnan_tf.training.data_service import check_address

    if arguments.join:
        check_address(arguments.join)
        address = arguments.join
    else:
        dispatcher = start_dispatcher(arguments.port)
        address = f"grpc://{arguments.host}:{dispatcher.target.rpartition(':')[2]}"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=work, args=(address, arguments.host, os.getpid())) for _ in range(arguments.workers)
    ]
    try:
        # What is ignored at a start is ignored from the first instruction: a terminal's Ctrl-C reaches all, and who
        # started them ends them.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for worker in workers:
            worker.start()
        signal.signal(signal.SIGINT, interrupt)
        print(f"train with --data-service {address}", flush=True)
        print(f"workers: {' '.join(str(worker.pid) for worker in workers)}", flush=True)
        watch(workers, address)
    except KeyboardInterrupt:
        return 0
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()


def start_dispatcher(port: int):
    """Start the dispatcher within this process.

    Raises:
        JobError: the port is taken.
    """
    tf = import_tensorflow()
    service = tf.data.experimental.service
    try:
        return service.DispatchServer(service.DispatcherConfig(port=port, worker_timeout_ms=WORKER_TIMEOUT_MS))
    except tf.errors.OpError as error:
        raise JobError(f"--port {port}: the dispatcher cannot listen there ({error.message}); name another") from error


def work(address: str, host: str, starter: int) -> None:
    """Be a worker until the process that started it, whose number is `starter`, is gone."""
    service = import_tensorflow().data.experimental.service
    config = service.WorkerConfig(address.removeprefix("grpc://"), worker_address=f"{host}:%port%")
    server = service.WorkerServer(config)  # until it is garbage
    while os.getppid() == starter:
        time.sleep(1)
    del server


def watch(workers: list, address: str) -> None:
    """Wait for as long as there is a worker, and name those that end.

    Raises:
        JobError: all have ended.
    """
    running = list(workers)
    while running:
        multiprocessing.connection.wait([worker.sentinel for worker in running])
        for worker in [worker for worker in running if not worker.is_alive()]:
            running.remove(worker)
            print(
                f"worker {worker.pid} ended; --join {address} --workers 1 starts another", file=sys.stderr, flush=True
            )
    raise JobError("all workers have ended")


if __name__ == "__main__":
    sys.exit(main())
