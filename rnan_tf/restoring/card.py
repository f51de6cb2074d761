"""What is known about a trained network, the same for every kind of file."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """What a network is for and how it wants its images.

    Attributes:
        task: what it restores, such as "denoise" or "sr".
        scale: how many times larger its output is.
        channels: of its images, 3 (RGB) or 1 (gray).
        strength: what tells how bad the degradation is: "sigma" (0-255 scale), "quality" (1-100) or None.
        strengths: (lowest, highest) that it was trained for; None for a task without.
        conditional: whether it is told the strength.
        tile: height and width of the only images that it takes; None for any.
        overlap: pixels that neighbouring tiles should share; None for the default.
        details: whatever else its file says: how it was trained, versions, scores.
    """

    task: str
    scale: int
    channels: int
    strength: str | None
    strengths: tuple[float, float] | None
    conditional: bool
    tile: int | None = None
    overlap: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON data."""
        strengths = None if self.strengths is None else list(self.strengths)
        return {**vars(self), "strengths": strengths, "details": dict(self.details)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ModelCard":
        """Return the card of `to_dict`'s data."""
        strengths = data["strengths"]
        return cls(**{**data, "strengths": None if strengths is None else tuple(strengths)})
