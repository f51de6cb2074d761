"""What is known about a trained network, the same for every kind of file."""

from dataclasses import dataclass, field, replace
from typing import Any

from rnan_tf.errors import InputError
from rnan_tf.tasks.task import Task, get_task

# The name under which a file holds its card, as JSON.
CARD_NAME = "rnan_tf"
# Where the folder of a SavedModel's version holds its card; the server ignores what it does not know there.
CARD_FILE = f"assets.extra/{CARD_NAME}.json"


@dataclass(frozen=True)
class ModelCard:
    """What a network is for and how it wants its images.

    Attributes:
        task: what it restores, such as "denoise" or "sr-x4".
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

    @classmethod
    def of_task(cls, task: Task, strengths: tuple[float, float], conditional: bool, **more: Any) -> "ModelCard":
        """Return the card of a network for a task.

        Args:
            task: the task.
            strengths: (lowest, highest) that it is trained for; of a task without strengths they are ignored.
            conditional: whether it is told the strength.
            **more: the other attributes.
        """
        if task.strength is None:
            return cls(task.name, task.scale, task.channels, None, None, conditional, **more)
        low, high = strengths
        return cls(task.name, task.scale, task.channels, task.strength.name, (low, high), conditional, **more)

    def with_details(self, **details: Any) -> "ModelCard":
        """Return the card with more details, or others of these names."""
        return replace(self, details={**self.details, **details})

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON data."""
        strengths = None if self.strengths is None else list(self.strengths)
        return {**vars(self), "strengths": strengths, "details": dict(self.details)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], task: str | None = None) -> "ModelCard":
        """Return the card of `to_dict`'s data, or of the metadata that files of version 0.1 hold.

        Args:
            data: as a file holds it, whatever it is.
            task: what the network was trained for, if the data do not say.

        Raises:
            InputError: it is not a card, or that of a network for another task.
        """
        if not isinstance(data, dict):
            raise InputError("does not say what it is for; export it again")
        data = data if "strengths" in data else _from_version_0_1(data)
        trained = data.get("task") or task
        if not trained:
            raise InputError("does not say its task; give `task`")
        if not isinstance(trained, str):
            raise InputError(f"its task {trained!r} is not a name; export it again")
        if task and trained != task:
            raise InputError(f"trained for task {trained}, not {task}; give a model of that task")
        found = get_task(trained)
        for name, ours in (("scale", found.scale), ("channels", found.channels)):
            if data.get(name) != ours:
                raise InputError(f"its {name} is {data.get(name)!r}, but task {trained} needs {ours}")
        if not isinstance(data.get("conditional"), bool):
            raise InputError("does not say whether it is told the strength; export it again")
        if not isinstance(data.get("details", {}), dict):
            raise InputError(f"its details {data['details']!r} have no names; export it again")
        for name, least in (("tile", 1), ("overlap", 0)):
            value = data.get(name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise InputError(f"its {name} {data[name]!r} is not a number of pixels; export it again")
        known = {name: data[name] for name in ("tile", "overlap", "details") if name in data}
        return cls.of_task(found, _read_strengths(data.get("strengths"), found), data["conditional"], **known)


def _read_strengths(strengths: Any, task: Task) -> tuple[float, float]:
    if task.strength is None:
        return 0, 0
    if strengths is None:
        return task.strength.limits
    values = strengths if isinstance(strengths, (list, tuple)) else [strengths]
    low, high = task.strength.limits
    are_numbers = all(isinstance(value, (int, float)) for value in values)
    if not are_numbers or len(values) not in (1, 2) or not low <= values[0] <= values[-1] <= high:
        raise InputError(f"its recorded {task.strength.name} {strengths!r} is not a number or a range; export it again")
    return float(values[0]), float(values[-1])


def _from_version_0_1(data: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1 said `level` for every strength, and for the scale of its one task `sr`."""
    names = ("task", "scale", "channels", "conditional", "tile", "overlap")
    known: dict[str, Any] = {str(name): data[name] for name in names if name in data}
    strengths = data.get("level")
    if known.get("task") == "sr":
        known["task"], strengths = f"sr-x{known.get('scale')}", None
    details = {key: value for key, value in data.items() if key not in (*known, "level", "value_range")}
    return {**known, "strengths": strengths, "details": details}


def card_of(model: Any, name: str, task: str | None = None) -> ModelCard:
    """Return the card of a Keras model.

    Args:
        model: an `RNAN`.
        name: of its file, for messages.
        task: what it was trained for, if its file does not say.

    Raises:
        InputError: it does not say, was trained for another task, or is no network for its task.
    """
    network = {"scale": model.scale, "channels": model.channels, "conditional": model.conditional}
    return read_card({**model.metadata, **network}, name, task)


def read_card(data: Any, name: str, task: str | None = None) -> ModelCard:
    """Return `ModelCard.from_dict`'s card, its errors with the file's name.

    Args:
        data: what the file holds.
        name: of the file.
        task: see `ModelCard.from_dict`.

    Raises:
        InputError: see `ModelCard.from_dict`.
    """
    try:
        return ModelCard.from_dict(data, task)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
