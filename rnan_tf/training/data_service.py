"""Degradation on other machines: photographs that they can read too, and the way to TensorFlow's data service."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from rnan_tf.errors import ImageError, InputError, say_skipped
from rnan_tf.files import replacing
from rnan_tf.photos.photo import Photo, write_photo
from rnan_tf.tasks.clean_images import read_clean
from rnan_tf.training.patches import PatchSpec


def check_address(address: str) -> None:
    """Check that something answers at a data service's address, which TensorFlow would wait for without a word.

    Args:
        address: "grpc://host:port".

    Raises:
        InputError: nothing does, or it is not such an address.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not address.startswith("grpc://") or not host or not port.isdecimal():
        raise InputError(f"{address}: a data service's address must look like grpc://host:port")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last of names such as a..b
        raise InputError(
            f"{address}: no data service answers there ({error}); start training/data_workers.py first"
        ) from error


def store_photographs(files: Sequence[Path], spec: PatchSpec, folder: Path) -> None:
    """Write the photographs as clean 8-bit PNG files of the task into a folder, all or none; once.

    Args:
        files: image files; what cannot be read or is smaller than a patch is named and skipped.
        spec: what a patch is.
        folder: the folder; if it exists it is complete and left as it is.

    Raises:
        InputError: no image is left.
        JobError: the disk is full or closed to us.
    """
    if folder.exists():
        return
    count = 0
    with replacing(folder) as temporary:
        temporary.mkdir()
        for file in files:
            try:
                image = read_clean(file, spec.task)
            except ImageError as error:
                say_skipped(error)
                continue
            if min(image.shape[:2]) < spec.clean_size:
                say_skipped(f"{file} is smaller than {spec.clean_size}x{spec.clean_size}")
                continue
            write_photo(temporary / f"{count:06d}.png", Photo(image, None, None, "PNG"))
            count += 1
        if not count:
            raise InputError(f"none of {len(files)} photographs can be read and is large enough for a patch")


def through_service(address: str, job: str) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Return the function that moves a dataset's work to a data service.

    Args:
        address: "grpc://host:port" of the dispatcher.
        job: a name; all readers that give the same share the dataset's elements among them.
    """

    def serve(dataset):
        service = tf.data.experimental.service
        dataset_id = service.register_dataset(address, dataset, dataset_id=job)
        return service.from_dataset_id(
            service.ShardingPolicy.DYNAMIC, address, dataset_id, dataset.element_spec, job_name=job
        )

    return serve
