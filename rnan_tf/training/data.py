"""The photographs of a run. Its `data.json` keeps which they are, told by their contents, and what each is used for."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnan_tf.errors import InputError, first_line
from rnan_tf.files import write_atomically
from rnan_tf.restoring.evaluation import Sample
from rnan_tf.tasks.pairs import Pair
from rnan_tf.training.patches import PatchSpec
from rnan_tf.training.split import Photograph

# So many of each kind are named where photographs differ.
NAMED = 3


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run learns from.

    Attributes:
        spec: what a patch is.
        files: the photographs or pairs to train on, in the order that the patches' numbers go by.
        validation_images: (name, clean image), of pairs (name, clean image, degraded image), (H, W, C) uint8; none in a
            process that does not validate.
        cached: whether the photographs are decoded once and kept in memory, or again and again.
        key: names what is stored of them for a data service.
    """

    spec: PatchSpec
    files: Sequence[Path] | Sequence[Pair]
    validation_images: Sequence[Sample]
    cached: bool = True
    key: str = "all"


@dataclass(frozen=True)
class Split:
    """The photographs of a run.

    Attributes:
        training: to train on, in the run's order.
        validation: held out.
        cached: see `RunData`; None while that is not decided.
        by_content: whether equal contents are one photograph. In runs that version 0.1 began each file is one.
    """

    training: tuple[Photograph, ...]
    validation: tuple[Photograph, ...]
    cached: bool | None = None
    by_content: bool = True

    @property
    def source(self) -> str:
        """The option that named them."""
        return "`pairs`" if any(each.degraded for each in self.training) else "`data`"

    def write(self, folder: Path) -> None:
        """Write `data.json`.

        Raises:
            JobError: it cannot be written.
        """
        parts = {name: [_as_json(each) for each in getattr(self, name)] for name in _PARTS}
        settings = {"cached": self.cached, "by_content": self.by_content}
        write_atomically(folder / "data.json", json.dumps({**settings, **parts}, indent=1).encode())

    def as_in(self, kept: "Split", apart: bool) -> "Split":
        """Return the run's own split, with the files where they are now; `cached` is the run's too.

        Args:
            kept: what the run began with.
            apart: whether the user named the photographs to validate on, which were not held out by number.

        Raises:
            InputError: these are other photographs; the message names them.
        """
        differing = self._differences(kept, apart)
        if differing:
            raise InputError(
                f"{kept.source} has other photographs than the run began with: {'; '.join(differing)}; "
                "bring them back, or go on with these by `data_changed` ok"
            )
        files: dict[str, list[Photograph]] = {}
        for each in (*self.training, *self.validation):
            files.setdefault(each.content, []).append(each)

        def now(each):
            equal = files[each.content]
            return equal.pop(0) if len(equal) > 1 else equal[0]

        parts = (tuple(map(now, part)) for part in (kept.training, kept.validation))
        return Split(*parts, kept.cached, kept.by_content)

    def _differences(self, kept, apart):
        now, before = ({each.content: each for each in (*s.training, *s.validation)} for s in (self, kept))
        new = {each.file.name for content, each in now.items() if content not in before}
        gone = {each.file.name for content, each in before.items() if content not in now}
        held_out, was_held_out = ({each.content for each in s.validation} for s in (self, kept))
        moved = {now[content].file.name for content in (held_out ^ was_held_out) & now.keys() & before.keys()}
        kinds = {"changed": new & gone, "gone": gone - new, "new": new - gone}
        if apart:
            kinds["moved between `data` and `val_data`"] = moved
        return [f"{kind} {_some(names)}" for kind, names in kinds.items() if names]

    def going_on_from(self, kept: "Split", apart: bool) -> "Split":
        """Return these photographs, of which none that was held out is trained on, or the other way round.

        Args:
            kept: what the run began with.
            apart: whether the user named the photographs to validate on.

        Raises:
            InputError: nothing is left to train on, or to validate on.
        """
        held_out, trained = ({each.content for each in part} for part in (kept.validation, kept.training))
        places = {os.path.abspath(each.file) for each in kept.validation}  # a changed file keeps its part

        def is_held_out(each, named):
            if each.content in held_out or each.content in trained:
                return each.content in held_out
            return named or os.path.abspath(each.file) in places

        roles = [(each, is_held_out(each, False)) for each in self.training]
        roles += [(each, is_held_out(each, apart)) for each in self.validation]
        training = tuple(each for each, out in roles if not out)
        validation = tuple(each for each, out in roles if out)
        if not training or not validation:
            used = "trained" if not training else "validated"
            raise InputError(f"{kept.source} has nothing left of what the run {used} on")
        return Split(training, validation)


def read_split(folder: Path) -> Split | None:
    """Read the `data.json` of a run.

    Args:
        folder: the run's.

    Returns:
        Its photographs; None in the folder of a version that did not keep them.

    Raises:
        InputError: it cannot be read.
    """
    path = folder / "data.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        parts = (tuple(map(_from_json, data[name])) for name in _PARTS)
        return Split(*parts, data["cached"], data["by_content"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); give another `run_dir`") from error


_PARTS = ("training", "validation")


def _as_json(photograph):
    data = {"file": os.path.abspath(photograph.file), "bytes": photograph.size, "sha256": photograph.sha256}
    return data | ({"degraded": os.path.abspath(photograph.degraded)} if photograph.degraded else {})


def _from_json(data):
    degraded = Path(data["degraded"]) if "degraded" in data else None
    return Photograph(Path(data["file"]), data["bytes"], data["sha256"], degraded)


def _some(names):
    shown, more = sorted(names)[:NAMED], len(names) - NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
