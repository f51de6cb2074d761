"""Which photographs are trained on and which are held out for validation."""

from collections.abc import Sequence
from pathlib import Path

from PIL import JpegImagePlugin

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import list_images

DEMO_TRAINING = ("astronaut.png", "coffee.png", "motorcycle_left.png")
DEMO_VALIDATION = ("chelsea.png", "rocket.jpg")


def demo_photographs() -> tuple[list[Path], list[Path]]:
    """Return the photographs that scikit-image ships, which need no download.

    Returns:
        (files to train on, files held out).
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [folder / name for name in DEMO_TRAINING], [folder / name for name in DEMO_VALIDATION]


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
    """Decide what to train on and what to validate on.

    Args:
        data: folders, files or globs; empty for scikit-image's photographs.
        val_data: the same; empty to hold out every twentieth of `data`, at least one and at most eight.
        skip_subsampled: leave out those of `data` that are JPEGs with subsampled chroma.

    Returns:
        (files to train on, files to validate on), disjoint.

    Raises:
        InputError: nothing is found, or too little to hold anything out.
    """
    if not data:
        return demo_photographs()
    files = [file for file in list_images(data) if not (skip_subsampled and is_subsampled(file))]
    if not files:
        raise InputError("every photograph of `data` is a JPEG with subsampled chroma; leave `skip_subsampled` out")
    if val_data:
        validation = list_images(val_data)
    elif len(files) > 1:
        count = min(max(len(files) // 20, 1), 8)
        validation = files[:: len(files) // count][:count]
    else:
        raise InputError(f"{files[0]}: one photograph cannot be trained and validated on; add more, or `val_data`")
    held_out = {file.resolve() for file in validation}
    training = [file for file in files if file.resolve() not in held_out]
    if not training:
        raise InputError("every photograph of `data` is in `val_data` too; nothing is left to train on")
    return training, validation
