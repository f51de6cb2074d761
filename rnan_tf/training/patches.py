"""Folders of photographs -> tf.data of (degraded, clean) patches, degraded on the fly.

Every patch is a function of (seed, its number): what it shows does not depend on workers, on the order of execution or
on where a run was interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError
from rnan_tf.tasks.clean_images import nothing_usable, read_images, try_read
from rnan_tf.tasks.pairs import Pair, no_usable_pair, read_stacks, try_read_stack
from rnan_tf.tasks.task import Task
from rnan_tf.training.memory import memory_limit

# Patches cut from one decoded image when the images do not fit into memory and are decoded again and again.
PATCHES_PER_DECODE = 16
# Images are kept in memory if they take no more than this share of it: building the cache takes four times their size
# for a moment.
CACHE_SHARE = 8


@dataclass(frozen=True)
class PatchSpec:
    """What a training patch is.

    Attributes:
        task: the task.
        strengths: (lowest, highest); each patch has its own within the range.
        size: height and width of the degraded patch, even; the clean one is `task.scale` times larger.
        seed: decides, with the patch's number, about everything random in it.
        paired: whether patches are cut from the user's own pairs, not degraded here.
        busiest_of: each patch is the one with most detail of so many that are cut at random.
    """

    task: Task
    strengths: tuple[float, float]
    size: int
    seed: int
    paired: bool = False
    busiest_of: int = 1

    @property
    def clean_size(self) -> int:
        """Height and width of the clean patch."""
        return self.size * self.task.scale

    @property
    def cut_size(self) -> int:
        """Height and width of what is cut from an image in memory: the clean patch, or of pairs, the degraded one."""
        return self.size if self.paired else self.clean_size

    @property
    def cut_channels(self) -> int:
        """Channels of an image in memory: those of the clean one, or of pairs, those of `rnan_tf.tasks.pairs.stack`."""
        return self.task.channels * (self.task.scale**2 + 1 if self.paired else 1)

    @property
    def conditional(self) -> bool:
        """Whether the network is told the strength."""
        return self.task.conditional and self.strengths[0] < self.strengths[1]


def read_training(files: Sequence[Path] | Sequence[Pair], spec: PatchSpec, max_bytes: float) -> list[np.ndarray] | None:
    """Read what patches are cut from.

    Args:
        files: image files, or pairs of them.
        spec: what a patch is.
        max_bytes: how much memory they may take.

    Returns:
        (H, W, `spec.cut_channels`) uint8 arrays; None if they take more than `max_bytes`.

    Raises:
        InputError: nothing is left that can be read and is as large as a patch.
    """
    if spec.paired:
        return read_stacks(files, spec.task, spec.size, max_bytes)
    images = read_images(files, spec.task, spec.clean_size, max_bytes)
    return None if images is None else [image for _, image in images]


def patch_batches(
    files: Sequence[Path] | Sequence[Pair],
    spec: PatchSpec,
    batch_size: int,
    first_step: int = 0,
    cache_bytes: float | None = None,
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Return the training data from a step on.

    Args:
        files: image files, or pairs of them.
        spec: what a patch is.
        batch_size: patches a step.
        first_step: where to begin; the batches are those an uninterrupted run would have seen from there on.
        cache_bytes: images are decoded once if they fit into this much memory, else again and again; default: the
            share `CACHE_SHARE` of what this process may have.
        part: (index, count): make only this one of `count` equal slices of each batch, for one of several workers.

    Returns:
        An endless dataset of (x, clean) batches of n = `batch_size / count` patches. clean: (n, clean_size, clean_size,
        channels) float32; x: the degraded patches (n, size, size, channels), in `{"image": x, "level": (n,)}` if
        `spec.conditional`.

    Raises:
        InputError: no file is an image that can be read and is as large as a patch.
    """
    if cache_bytes is None:
        cache_bytes = memory_limit() / CACHE_SHARE
    images = read_training(files, spec, cache_bytes)
    if images is None:
        patches = _streamed_patches(_reader(files, spec), len(files), spec, batch_size, first_step, part)
    else:
        patches = _cached_patches(images, spec, _numbers(first_step, batch_size, part))
    batches = patches.batch(batch_size // part[1], drop_remainder=True).map(_as_floats(spec))
    return batches.prefetch(tf.data.AUTOTUNE).with_options(_options())


def served_batches(
    files: Sequence[str],
    spec: PatchSpec,
    batch_size: int,
    first_step: int,
    serve: Callable[[tf.data.Dataset], tf.data.Dataset],
) -> tf.data.Dataset:
    """Return training data that other processes make, decoding their images again and again.

    Args:
        files: PNG files of clean images of the task, large enough, under names that those processes see too.
        spec: what a patch is.
        batch_size: patches a batch.
        first_step: batches that the run has had; the data begin with the first images that it has not seen.
        serve: takes the dataset of the patches, returns one whose elements come from the other processes.

    Returns:
        What `patch_batches` returns; which patches share a batch depends on the processes.
    """
    names = tf.constant([str(file) for file in files])

    def read(index):
        return tf.io.decode_png(tf.io.read_file(names[index]), channels=spec.task.channels)

    first_step = -(-first_step // PATCHES_PER_DECODE) * PATCHES_PER_DECODE
    patches = _streamed_patches(read, len(files), spec, batch_size, first_step)
    served = serve(patches.batch(batch_size, drop_remainder=True).with_options(_options()))
    return served.map(_as_floats(spec)).prefetch(tf.data.AUTOTUNE).with_options(_options())


def _options():
    """One thread a patch, many at a time, and nothing tuned while it runs."""
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1  # patches are small
    # The thread that autotunes sleeps for up to a minute. If it is woken just before the flag is set that tells it to
    # end, it sleeps on, and whoever gives the data up waits for it: the end of a run, or any place where garbage is
    # collected. Without it AUTOTUNE is one thread for each core from the start, which is as fast here.
    options.autotune.enabled = False
    return options


def _cached_patches(images, spec, numbers):
    """Patches of images in memory; an image gives as many as its share of all pixels."""
    sizes = np.array([image.shape[:2] for image in images], np.int64)
    ends = np.cumsum(sizes.prod(axis=1))
    # All pixels in one buffer: a patch is then two slices, whatever the number of images.
    buffer = tf.constant(np.concatenate([image.reshape(-1, spec.cut_channels) for image in images]))
    starts, sizes, ends = tf.constant(ends - sizes.prod(axis=1)), tf.constant(sizes), tf.constant(ends)

    def cut(u):
        pixel = tf.cast(tf.cast(u[0], tf.float64) * tf.cast(ends[-1], tf.float64), tf.int64)
        index = tf.searchsorted(ends, pixel[None], "right")[0]
        height, width = sizes[index, 0], sizes[index, 1]
        y, x = _corner(u, height, width, spec)
        first_pixel = starts[index] + y * width
        rows = tf.reshape(buffer[first_pixel : first_pixel + spec.cut_size * width], (spec.cut_size, width, -1))
        return rows[:, x : x + spec.cut_size]

    def patch(number):
        u = _uniform(spec, number)
        return _pair(_busiest(cut, u, spec, number), u, spec, number)

    return numbers.map(patch, num_parallel_calls=tf.data.AUTOTUNE)


def _reader(files, spec):
    """Return a graph's function from an index to the image."""
    try_one, nothing = (try_read_stack, no_usable_pair) if spec.paired else (try_read, nothing_usable)

    def read(index):
        # A damaged file gives the patches of the next readable one.
        for offset in range(len(files)):
            image = try_one(files[(int(index) + offset) % len(files)], spec.task, spec.cut_size)
            if image is not None:
                return image
        raise InputError(nothing(files, spec.cut_size))

    return lambda index: tf.numpy_function(read, [index], tf.uint8, stateful=False)


def _streamed_patches(read, count, spec, batch_size, first_step, part=(0, 1)):
    """Patches of images that are decoded when needed: a batch has one patch of each of `batch_size` images.

    The parallel interleave decodes ahead: up to three times `batch_size` images are in memory.
    """

    def patches(decode_number):
        u = _uniform(spec, -1 - decode_number)  # negative: apart from the patches' own numbers
        index = tf.cast(u[0] * count, tf.int64)
        image = tf.ensure_shape(read(index), (None, None, spec.cut_channels))
        group, place = decode_number // batch_size, decode_number % batch_size

        def cut(u):
            y, x = _corner(u, *tf.unstack(tf.shape(image, tf.int64)[:2]), spec)
            return image[y : y + spec.cut_size, x : x + spec.cut_size]

        def patch(k):
            number = (group * PATCHES_PER_DECODE + k) * batch_size + place
            u = _uniform(spec, number)
            return _pair(_busiest(cut, u, spec, number), u, spec, number)

        return tf.data.Dataset.range(PATCHES_PER_DECODE).map(patch)

    group, steps_into_group = divmod(first_step, PATCHES_PER_DECODE)
    size = batch_size // part[1]
    decodes = _numbers(group, batch_size, part)
    patches = decodes.interleave(patches, cycle_length=size, num_parallel_calls=tf.data.AUTOTUNE)
    return patches.skip(steps_into_group * size)


def _numbers(first_batch, batch_size, part):
    """Numbers counted through all batches, of those that fall into a part of each."""
    index, count = part
    size = batch_size // count
    numbers = tf.data.Dataset.range(first_batch * size, np.iinfo(np.int64).max)
    if count == 1:
        return numbers
    return numbers.map(lambda k: k // size * batch_size + index * size + k % size)


def _uniform(spec, number):
    """Five numbers in [0, 1) that belong to a patch: image, y, x, orientation and strength."""
    return tf.random.stateless_uniform((5,), (tf.cast(spec.seed, tf.int64), number), alg="philox")


def _corner(u, height, width, spec):
    y = tf.cast(u[1] * tf.cast(height - spec.cut_size + 1, tf.float32), tf.int64)
    x = tf.cast(u[2] * tf.cast(width - spec.cut_size + 1, tf.float32), tf.int64)
    return y, x


def _busiest(cut, u, spec, number):
    """Cut pieces of images at `spec.busiest_of` places, the first by a patch's own numbers; return the busiest."""
    if spec.busiest_of == 1:
        return cut(u)
    seed = tf.cast(spec.seed, tf.int64) + 2, number
    others = tf.random.stateless_uniform((spec.busiest_of - 1, 3), seed, alg="philox")
    pieces = tf.stack([cut(place) for place in (u, *tf.unstack(others))])
    clean = pieces[..., : -spec.task.channels] if spec.paired else pieces
    return pieces[tf.argmax(tf.image.total_variation(tf.cast(clean, tf.float32)))]


def _pair(patch, u, spec, number):
    """Turn and flip a clean patch at random and degrade it; images stay bytes, quick to copy, until `_as_floats`."""
    if spec.paired:
        degraded, clean = (tf.ensure_shape(_turned(part, u), part.shape) for part in _unstacked(patch, spec))
        return degraded, tf.constant(0.0), clean
    clean = tf.ensure_shape(_turned(patch, u), (spec.clean_size, spec.clean_size, spec.task.channels))

    low, high = spec.strengths
    strength = int(low) if float(low).is_integer() else low
    if high > low:
        span = tf.floor(u[4] * (high - low + 1)) if spec.task.strength.whole else u[4] * (high - low)
        strength = low + span
    seed = tf.cast(spec.seed, tf.int64) + 1, number
    return spec.task.degradation(clean, seed, strength), tf.cast(strength, tf.float32), clean


def _turned(patch, u):
    orientation = tf.cast(u[3] * 8, tf.int32)
    flip_y, flip_x, transpose = orientation % 2, orientation // 2 % 2, orientation // 4
    patch = tf.raw_ops.Reverse(tensor=patch, dims=tf.stack([flip_y > 0, flip_x > 0, False]))
    return tf.transpose(patch, tf.stack([transpose, 1 - transpose, 2]))


def _unstacked(patch, spec):
    """Return the degraded and the clean patch of what `rnan_tf.tasks.pairs.stack` has put together."""
    channels, scale = spec.task.channels, spec.task.scale
    patch = tf.ensure_shape(patch, (spec.size, spec.size, spec.cut_channels))
    clean = patch[..., :-channels]
    if scale > 1:
        clean = tf.nn.depth_to_space(clean[None], scale)[0]
    return patch[..., -channels:], clean


def _as_floats(spec):
    """Return the function that turns a batch of `_pair` into what `fit` wants."""

    def convert(degraded, strength, clean):
        degraded, clean = (tf.cast(x, tf.float32) / 255.0 for x in (degraded, clean))
        return ({"image": degraded, "level": strength / 255.0} if spec.conditional else degraded), clean

    return convert
