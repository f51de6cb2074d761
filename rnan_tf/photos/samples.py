"""The photographs that come with scikit-image, which need no download."""

from pathlib import Path

# Colourful, detailed, dark and bright.
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def sample_photographs(*names: str) -> list[Path]:
    """Return files of scikit-image's.

    Args:
        *names: of the files; `NAMES` if none is given.
    """
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in names or NAMES]
