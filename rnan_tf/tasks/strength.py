"""The strengths of degradations, in the user's units: the sigma of noise, the quality of JPEG."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.photo import Photo


class Found(NamedTuple):
    """A strength for a photograph.

    Attributes:
        strength: in the user's unit; where it differs over the photograph, (rows, columns) of them, of equal parts.
        of_photo: whether it is the photograph's, by an estimate or by its file, and not the default.
        doubt: what speaks against it, if anything.
    """

    strength: float | np.ndarray
    of_photo: bool = True
    doubt: str = ""


@dataclass(frozen=True)
class Strength:
    """What tells how bad a degradation is, in the user's unit.

    Attributes:
        name: of the argument and the option, "sigma" or "quality".
        text: what a person calls it.
        limits: (lowest, highest).
        default: used when none is given.
        published: those of the paper's tables.
        whole: whether it is a whole number.
        find: a degraded photograph -> its strength; None where the photograph does not tell.
        found_text: how the strength was found.
    """

    name: str
    text: str
    limits: tuple[int, int]
    default: int
    published: tuple[int, ...]
    whole: bool = True
    find: Callable[[Photo], Found | None] = field(kw_only=True)
    found_text: str = field(kw_only=True)

    def parse(self, text: str, ranges: bool = True) -> tuple[float, float]:
        """Read a strength or a range.

        Args:
            text: such as "50" or "0-75".
            ranges: whether a range will do.

        Returns:
            (lowest, highest), equal for a single one.

        Raises:
            InputError: it is neither, or out of the limits.
        """
        low, high = self.limits
        try:
            values = [float(part) for part in text.split("-")]
        except ValueError:
            values = []
        whole = all(value.is_integer() for value in values) or not self.whole
        if len(values) not in ((1, 2) if ranges else (1,)) or not whole or not low <= values[0] <= values[-1] <= high:
            number = "whole number" if self.whole else "number"
            range_too = " or a range such as 10-50" if ranges else ""
            raise InputError(f"`{self.name}` must be a {number} from {low} to {high}{range_too}; got {text!r}")
        return values[0], values[-1]

    def say(self, strength: float | np.ndarray) -> str:
        """Return a strength, or the range of several, as a person would say it."""
        if np.ndim(strength):
            return f"{self.text} {np.min(strength):.0f} to {np.max(strength):.0f}"
        return f"{self.text} {strength:.{0 if self.whole else 1}f}"


_SMOOTHED = "a camera or a codec has smoothed the noise, and the estimate is too low"


def _sigma_of(photo: Photo) -> Found:
    sigma = estimate_noise(photo.pixels) if photo.noise.sigmas is None else photo.noise.sigmas
    if not photo.noise.smoothed:
        return Found(sigma)
    middle = float(np.median(sigma))
    first = f"{max(5, middle):.0f} to {max(15, 2 * middle):.0f} at first"
    return Found(sigma, doubt=f"{_SMOOTHED}; give `sigma`, {first}")


def _quality_of(photo: Photo) -> Found | None:
    return Found(float(photo.jpeg.quality)) if photo.jpeg else None


SIGMA = Strength(
    "sigma", "noise sigma", (0, 75), 50, (10, 30, 50, 70), whole=False, find=_sigma_of, found_text="estimated"
)
QUALITY = Strength(
    "quality", "JPEG quality", (1, 100), 10, (10, 20, 30, 40), find=_quality_of, found_text="by the file's tables"
)
STRENGTHS = {strength.name: strength for strength in (SIGMA, QUALITY)}
