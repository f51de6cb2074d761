"""Where a run trains: one device, several of one machine, or several machines. What it learns does not depend on it."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from rnan_tf.errors import InputError, JobError, first_line
from rnan_tf.training.keras_fixes import fix_fit_of_several_workers
from rnan_tf.training.open_ports import check_ports_are_private

STRATEGIES = ("auto", "one", "mirrored", "multi-worker")
# What the operations of a cluster raise when one of its workers has ended, cannot be reached or was started anew.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Placement:
    """Where a run trains.

    Attributes:
        strategy: one of `STRATEGIES`; auto takes the cluster that TF_CONFIG names, else all GPUs, else one device.
        devices: such as ("GPU:0", "GPU:1"), for one and mirrored; None for the GPUs that are visible.
        data_service: "grpc://host:port" of the processes that degrade the patches; None to degrade them here.
        i_know_this_network_is_private: whether a cluster may open ports that other machines can reach.
    """

    strategy: str = "auto"
    devices: tuple[str, ...] | None = None
    data_service: str | None = None
    i_know_this_network_is_private: bool = False


def make_strategy(placement: Placement, batch_size: int) -> tf.distribute.Strategy:
    """Return TensorFlow's strategy for a placement; with several workers it returns when all of them are there.

    Call it before any TensorFlow operation is run, or the workers cannot be connected.

    Args:
        placement: what was asked for.
        batch_size: patches a step, over all replicas.

    Returns:
        The strategy; the default one for a single device.

    Raises:
        InputError: TF_CONFIG or the devices do not fit, the replicas cannot share the batch equally, or strangers could
            reach the cluster's ports.
        JobError: the cluster does not come about.
    """
    workers = _workers() if placement.strategy in ("auto", "multi-worker") else 0
    if keras.backend.backend() == "jax":
        return _use_devices_of_jax(placement, workers, batch_size)
    if placement.strategy == "multi-worker" and not workers:
        raise InputError(
            "`strategy` multi-worker needs the environment variable TF_CONFIG with the cluster's addresses; "
            "see docs/clusters.md"
        )
    if workers > 1:
        if placement.devices:
            raise InputError("`devices`: each worker of a cluster takes all GPUs it sees; set CUDA_VISIBLE_DEVICES")
        check_ports_are_private(placement.i_know_this_network_is_private)
        strategy = _join_cluster(workers)
    else:
        strategy = _local_strategy(placement)
    _check_share(batch_size, strategy.num_replicas_in_sync)
    return strategy


def _check_share(batch_size, devices):
    if batch_size % devices:
        raise InputError(
            f"`batch_size` {batch_size} is over all devices and must be a multiple of their number, {devices}"
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process is the one that writes; always, where there is only one."""
    resolver = strategy.cluster_resolver
    if resolver is None:
        return True
    jobs = resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or ("chief" not in jobs and resolver.task_id == 0)


def everyones(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """Tell all workers a number and hear theirs; nobody goes on before all have called it.

    Args:
        strategy: the run's.
        value: this process's number.

    Returns:
        The numbers of all replicas, the chief's first; `[value]` where there is only one process.
    """
    if strategy.cluster_resolver is None:
        return [value]
    gathered = _gather(strategy)(tf.constant([value], tf.int64))
    return strategy.experimental_local_results(gathered)[0].numpy().tolist()


@contextlib.contextmanager
def naming_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turn what TensorFlow raises when another worker is gone into one line.

    Raises:
        JobError: a worker of the cluster ended or cannot be reached.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if strategy.cluster_resolver is None or not isinstance(error, LOST):
            raise
        reason = error.message.partition("\n")[0].rpartition("aborted by: ")[2]
        raise JobError(
            f"another worker of the cluster is gone ({reason}); start the same command on all workers again: "
            "the run goes on from its last checkpoint"
        ) from error


def distribute(
    strategy: tf.distribute.Strategy, batches: Callable[[tuple[int, int]], tf.data.Dataset]
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Give every replica its slice of each batch; each worker makes its own slices only.

    Args:
        strategy: the run's.
        batches: (index, count) -> the worker's `index`-th of `count` equal slices of each batch.

    Returns:
        What `fit` takes.
    """

    def of_worker(context):
        dataset = batches((context.input_pipeline_id, context.num_input_pipelines))
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        if replicas == 1:
            return dataset
        size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
        return dataset.rebatch(size // replicas, drop_remainder=True).prefetch(replicas)

    return strategy.distribute_datasets_from_function(of_worker)


@functools.cache
def _gather(strategy):
    def of_replica(value):
        return tf.distribute.get_replica_context().all_gather(tf.identity(value), axis=0)  # a copy of its device's own

    return tf.function(lambda value: strategy.run(of_replica, args=(value,)))


def _workers():
    """The number of workers in TF_CONFIG, 0 without it."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        if not jobs:
            return 0
        if not set(jobs) <= {"chief", "worker"}:
            raise ValueError(f"it has the jobs {sorted(jobs)}; only chief and worker can train")
        if not all(isinstance(job, list) and job for job in jobs.values()):
            raise ValueError("each job must be a list of addresses")
        here = jobs[task["type"]][int(task["index"])]
        if int(task["index"]) < 0 or not all(_is_address(address) for job in jobs.values() for address in job):
            raise ValueError(f"addresses must be texts such as host:port, as {here!r} should be")
        return sum(len(job) for job in jobs.values())
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"TF_CONFIG is not a cluster's description ({type(error).__name__}: {error}); it must look like "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
        ) from error


def _is_address(value):
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isdecimal() and int(port) < 65536


def _join_cluster(workers):
    fix_fit_of_several_workers()
    print(f"a cluster of {workers} workers: waiting for all to start", file=sys.stderr, flush=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise JobError(
            f"this worker cannot join the cluster of TF_CONFIG ({first_line(error)}); "
            "its own port must be free, and the others' addresses reachable"
        ) from error


def _local_strategy(placement):
    gpus, cpus = ([d.name.removeprefix("/device:") for d in tf.config.list_logical_devices(k)] for k in ("GPU", "CPU"))
    devices = _chosen(placement, gpus, cpus)
    if placement.strategy == "mirrored" or len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.OneDeviceStrategy(devices[0]) if devices else tf.distribute.get_strategy()


def _chosen(placement, visible, others):
    """Return the devices that are asked for, or all that are `visible`; none for the default one."""
    devices = [name.upper() for name in placement.devices or ()]
    for name in devices:
        if name not in (*visible, *others):
            raise InputError(f"`devices` {name}: no such device; there are {', '.join((*visible, *others))}")
    if len(set(devices)) < len(devices):
        raise InputError(f"`devices` {' '.join(devices)}: each may be named once")
    if placement.strategy == "one":
        if len(devices) > 1:
            raise InputError("`strategy` one takes one of `devices`")
    elif placement.strategy == "mirrored" and not devices:
        devices = visible
        if not devices:
            raise InputError("`strategy` mirrored: no GPU is visible; name `devices`")
    elif not devices and len(visible) > 1:
        devices = visible
    return devices


def _use_devices_of_jax(placement, workers, batch_size):
    """Let Keras spread each batch over the devices, in one program; to TensorFlow, which feeds it, it is one device."""
    if workers or placement.strategy == "multi-worker":
        raise InputError("clusters by TF_CONFIG train on TensorFlow only; leave `backend` jax, or TF_CONFIG, out")
    if placement.data_service:
        raise InputError("`data_service` feeds TensorFlow only; leave it, or `backend` jax, out")
    tf.config.set_visible_devices([], "GPU")  # whose memory it would take away from JAX
    visible, cpus = ([name.upper() for name in keras.distribution.list_devices(kind)] for kind in (None, "cpu"))
    devices = _chosen(placement, visible, [name for name in cpus if name not in visible])
    _check_share(batch_size, max(len(devices), 1))
    if devices:
        each = keras.distribution.DataParallel(devices=[name.lower() for name in devices])
        keras.distribution.set_distribution(each)
    return tf.distribute.get_strategy()
