"""The user's own pairs: a folder of degraded photographs and one of the same photographs clean, matched by name."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from rnan_tf.errors import ImageError, InputError, say_skipped
from rnan_tf.photos.finding import list_images
from rnan_tf.tasks.clean_images import is_large_enough, read_clean
from rnan_tf.tasks.task import Task

# So many files are named where some have no partner.
_NAMED = 5


class Pair(NamedTuple):
    """Two files of one photograph."""

    degraded: Path
    clean: Path


def list_pairs(degraded: str | os.PathLike[str], clean: str | os.PathLike[str]) -> list[Pair]:
    """Match the photographs of two folders by their names, whatever their extensions; print what has no partner.

    Args:
        degraded: a folder, or a glob.
        clean: the same.

    Returns:
        The pairs, in the order of their names.

    Raises:
        InputError: there is no pair, or two files of a folder differ in their extensions alone.
    """
    if os.path.realpath(degraded) == os.path.realpath(clean):
        raise InputError(f"{clean}: the degraded and the clean photographs of `pairs` are the same; name two folders")
    theirs, ours = _by_stem(degraded), _by_stem(clean)
    names = sorted(theirs.keys() & ours.keys())
    if not names:
        raise InputError(
            f"no photograph in {degraded} has the name of one in {clean} (as {next(iter(theirs.values())).name} and "
            f"{next(iter(ours.values())).name}); `pairs` are matched by their names without extension"
        )
    for folder, files, others in ((degraded, theirs, ours), (clean, ours, theirs)):
        if alone := [files[name].name for name in files if name not in others]:
            more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
            say_skipped(f"{folder} has no partner for {', '.join(alone[:_NAMED])}{more}")
    return [Pair(theirs[name], ours[name]) for name in names]


def _by_stem(folder: str | os.PathLike[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in list_images([folder]):
        if file.stem in files:
            raise InputError(f"{file} and {files[file.stem].name} have one name; `pairs` need one photograph a name")
        files[file.stem] = file
    return files


def read_pair(pair: Pair, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Read a pair.

    Args:
        pair: its files.
        task: the task.

    Returns:
        (degraded (H, W, channels), clean (H * scale, W * scale, channels)), uint8, of the task's channels. Rows and
        columns of the clean one that the scale does not divide are left out.

    Raises:
        ImageError: a file cannot be read, or their sizes do not fit.
    """
    degraded, clean = read_clean(pair.degraded, replace(task, scale=1)), read_clean(pair.clean, task)
    (height, width), found = (size * task.scale for size in degraded.shape[:2]), clean.shape[:2]
    if (height, width) != found:
        times = f"{task.scale} times as large as" if task.scale > 1 else "as large as"
        raise ImageError(
            f"{pair.clean}: has {found[1]}x{found[0]} pixels, but must be {times} {pair.degraded}, {width}x{height}, "
            f"for task {task.name}; mend the pair or take it away"
        )
    return degraded, clean


def stack(degraded: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Put a pair into one array, so that whatever is cut from it belongs together.

    Args:
        degraded: (H, W, C).
        clean: (H * scale, W * scale, C).

    Returns:
        (H, W, scale**2 * C + C): the clean pixels of each degraded one, as `tf.nn.space_to_depth` orders them, and it.
    """
    height, width, channels = degraded.shape
    scale = clean.shape[0] // height
    cells = clean.reshape(height, scale, width, scale, channels).swapaxes(1, 2).reshape(height, width, -1)
    return np.concatenate([cells, degraded], axis=2)


def read_pairs(pairs: Iterable[Pair], task: Task, min_size: int = 1) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Read pairs one after the other, naming and skipping what cannot be used.

    Args:
        pairs: their files.
        task: the task.
        min_size: least height and width of a clean image.

    Yields:
        (name of the clean file, clean image, degraded image), as `read_pair` returns them.

    Raises:
        InputError: none could be used.
    """
    unusable: list[Pair] = []
    usable = False
    least = -(-min_size // task.scale)  # of a degraded image
    for pair in pairs:
        if images := _try_read(pair, task, least):
            usable = True
            yield pair.clean.name, images[1], images[0]
        else:
            unusable.append(pair)
    if not usable:
        raise InputError(no_usable_pair(unusable, least))


def try_read_stack(pair: Pair, task: Task, min_size: int) -> np.ndarray | None:
    """Read a pair as `stack` makes it; None, and a line that says why, if it cannot be used.

    Args:
        pair: its files.
        task: the task.
        min_size: least height and width of the degraded image.
    """
    images = _try_read(pair, task, min_size)
    return stack(*images) if images else None


def _try_read(pair: Pair, task: Task, min_size: int) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        degraded, clean = read_pair(pair, task)
    except ImageError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return None
    return (degraded, clean) if is_large_enough(pair.degraded, degraded, min_size) else None


def read_stacks(
    pairs: Sequence[Pair], task: Task, min_size: int, max_bytes: float = float("inf")
) -> list[np.ndarray] | None:
    """Read pairs, naming and skipping what cannot be used.

    Args:
        pairs: their files.
        task: the task.
        min_size: least height and width of a degraded image.
        max_bytes: how much memory they may take.

    Returns:
        What `stack` makes of each; None if they take more than `max_bytes`.

    Raises:
        InputError: no pair is left.
    """
    stacks, size = [], 0
    for pair in tqdm(pairs, desc="Reading pairs", unit="pair", leave=False, disable=len(pairs) < 50):
        image = try_read_stack(pair, task, min_size)
        if image is None:
            continue
        stacks.append(image)
        size += image.nbytes
        if size > max_bytes:
            return None
    if not stacks:
        raise InputError(no_usable_pair(pairs, min_size))
    return stacks


def no_usable_pair(pairs: Sequence[Pair], min_size: int) -> str:
    """Return the message of pairs none of which can be used."""
    return (
        f"{pairs[0].degraded.parent} and {pairs[0].clean.parent}: none of {len(pairs)} pairs can be used; both must be "
        f"readable and fit, and the degraded one be at least {min_size}x{min_size}"
    )
