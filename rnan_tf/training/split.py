"""Which photographs are trained on and which are held out for validation; equal contents are one photograph."""

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import JpegImagePlugin
from tqdm import tqdm

from rnan_tf.errors import InputError
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.samples import sample_photographs
from rnan_tf.tasks.clean_images import nothing_usable
from rnan_tf.tasks.pairs import Pair, list_pairs, no_usable_pair

DEMO_TRAINING = ("astronaut.png", "coffee.png", "motorcycle_left.png")
DEMO_VALIDATION = ("chelsea.png", "rocket.jpg")


@dataclass(frozen=True)
class Photograph:
    """A file, and what tells whether another has the same content.

    Attributes:
        file: where it is.
        size: bytes; 0 of a file that cannot be read.
        sha256: of its content; empty of a file that cannot be read.
        degraded: of one of the user's own pairs, the degraded photograph; size and content are those of both.
    """

    file: Path
    size: int
    sha256: str
    degraded: Path | None = None

    @property
    def content(self) -> str:
        """What is equal for equal contents; of files that cannot be read, for equal names."""
        return self.sha256 or self.file.name

    @property
    def source(self) -> Path | Pair:
        """What to read."""
        return Pair(self.degraded, self.file) if self.degraded else self.file


def demo_photographs() -> tuple[list[Path], list[Path]]:
    """Return the photographs that scikit-image ships, which need no download.

    Returns:
        (files to train on, files held out).
    """
    return sample_photographs(*DEMO_TRAINING), sample_photographs(*DEMO_VALIDATION)


def look_at(files: Sequence[Path]) -> list[Photograph]:
    """Read files, to tell equal contents."""
    bar = tqdm(files, desc="Comparing photographs", unit="image", leave=False, disable=len(files) < 50)
    return [_photograph(file) for file in bar]


def _photograph(file):
    try:
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return Photograph(file, content.tell(), digest)
    except OSError:  # which is said and skipped where the image is read
        return Photograph(file, 0, "")


def is_subsampled(file: Path) -> bool:
    """Return whether a file is a JPEG with fewer chroma than luma samples, by its header."""
    try:
        with JpegImagePlugin.JpegImageFile(file) as image:
            # -1 of an RGB image is a subsampling that Pillow has no number for, such as 4:1:1.
            return image.mode == "RGB" and JpegImagePlugin.get_sampling(image) != 0
    except Exception:  # another format, or damaged, which reading the photograph will say
        return False


def subsampled_notice(data: Sequence[str], skipped: bool) -> str:
    """Return a line that says how many photographs are JPEGs with subsampled chroma.

    Args:
        data: folders, files or globs.
        skipped: whether they are left out.
    """
    files = list_images(data)
    count = sum(map(is_subsampled, files))
    what = "which are left out" if skipped else "which --skip-subsampled leaves out"
    return f"{count} of {len(files)} photographs of --data are JPEGs with subsampled chroma, {what}"


def training_files(
    data: Sequence[str], val_data: Sequence[str], skip_subsampled: bool = False
) -> tuple[list[Path], list[Path]]:
    """Decide what to train on and what to validate on; see `split_photographs`.

    Returns:
        (files to train on, files to validate on).

    Raises:
        InputError: nothing is found, or too little to hold anything out.
    """
    training, validation = split_photographs(data, val_data, skip_subsampled)
    return [photograph.file for photograph in training], [photograph.file for photograph in validation]


def split_photographs(
    data: Sequence[str],
    val_data: Sequence[str],
    skip_subsampled: bool = False,
    by_content: bool = True,
    can_be_used: Callable[[Photograph], bool] | None = None,
) -> tuple[list[Photograph], list[Photograph]]:
    """Decide what to train on and what to validate on.

    Args:
        data: folders, files or globs; empty for scikit-image's photographs.
        val_data: the same; empty to hold out every twentieth of `data`, at least one and at most eight.
        skip_subsampled: leave out those of `data` that are JPEGs with subsampled chroma.
        by_content: files of equal content are one photograph; else, as in version 0.1, each file is one.
        can_be_used: tells what may be held out; None for everything.

    Returns:
        (photographs to train on, photographs to validate on), disjoint.

    Raises:
        InputError: nothing is found, nothing can be used, or there is too little to hold anything out.
    """
    if not data:
        training, validation = demo_photographs()
        return look_at(training), look_at(validation)
    files = [file for file in list_images(data) if not (skip_subsampled and is_subsampled(file))]
    if not files:
        raise InputError("every photograph of `data` is a JPEG with subsampled chroma; leave `skip_subsampled` out")
    photographs, validation = look_at(files), look_at(list_images(val_data)) if val_data else []
    if by_content:
        photographs, validation = distinct(photographs), distinct(validation)
    if not val_data:
        validation = _some_of(photographs, can_be_used)
        if len(photographs) > 1 and not validation:
            raise InputError(nothing_usable(files, 1))
    if not validation:
        raise InputError(f"{files[0]}: one photograph cannot be trained and validated on; add more, or `val_data`")
    held_out = {photograph.file.resolve() for photograph in validation}
    if by_content:
        held_out |= {photograph.content for photograph in validation}
    training = [each for each in photographs if not held_out & {each.file.resolve(), each.content}]
    if not training:
        raise InputError("every photograph of `data` is in `val_data` too; nothing is left to train on")
    return training, validation


def split_pairs(
    degraded: str,
    clean: str,
    can_be_used: Callable[[Photograph], bool] | None = None,
    was_held_out: Container[str] = (),
) -> tuple[list[Photograph], list[Photograph]]:
    """Decide which of the user's own pairs to train on and which to validate on.

    Args:
        degraded: a folder.
        clean: the folder of the same photographs, clean.
        can_be_used: see `split_photographs`.
        was_held_out: the contents of those that a run began with, which are held out again.

    Returns:
        (pairs to train on, every twentieth to validate on, at least one and at most eight), with no clean photograph in
        both.

    Raises:
        InputError: they are no pairs, none can be used, or they are too few to hold any out.
    """
    pairs = list_pairs(degraded, clean)
    theirs, ours = look_at([pair.degraded for pair in pairs]), look_at([pair.clean for pair in pairs])
    clean_contents = {each.file: each.content for each in ours}
    photographs = distinct(map(_joined, theirs, ours))
    validation = [each for each in photographs if each.content in was_held_out]
    validation = validation or _some_of(photographs, can_be_used)
    if len(photographs) > 1 and not validation:
        raise InputError(no_usable_pair(pairs, 1))
    held_out = {clean_contents[each.file] for each in validation}
    training = [each for each in photographs if clean_contents[each.file] not in held_out]
    if not validation or not training:
        raise InputError(f"{clean}: one photograph cannot be trained and validated on; add more to both of `pairs`")
    return training, validation


def _joined(degraded, clean):
    readable = degraded.sha256 and clean.sha256
    sha256 = hashlib.sha256((degraded.sha256 + clean.sha256).encode()).hexdigest() if readable else ""
    return Photograph(clean.file, degraded.size + clean.size, sha256, degraded.file)


def _some_of(photographs, can_be_used):
    """Return those to hold out, for each that cannot be used the next that can; none if there is only one."""
    count = min(max(len(photographs) // 20, 1), 8)
    step = len(photographs) // count
    if len(photographs) < 2:
        return []
    parts = [photographs[part * step : (part + 1) * step if part + 1 < count else None] for part in range(count)]
    found = (next((each for each in part if can_be_used is None or can_be_used(each)), None) for part in parts)
    return [each for each in found if each is not None]


def distinct(photographs: Iterable[Photograph]) -> list[Photograph]:
    """Return the first of each content."""
    first = {}
    for each in photographs:
        first.setdefault(each.content, each)
    return list(first.values())
