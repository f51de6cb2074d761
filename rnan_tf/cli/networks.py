"""The networks of a restoration, each opened once, and what they are told about a photograph."""

from dataclasses import dataclass
from typing import Any

from rnan_tf.cli.options import asked_strength
from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo
from rnan_tf.restoring.choosing import choose, preset_of
from rnan_tf.restoring.restorer import Restorer

# An option that only one task has -> the task.
_IMPLIED = {"sigma": "denoise", "quality": "jpeg", "cfa": "demosaic"}


@dataclass(frozen=True)
class Plan:
    """What is done to a photograph.

    Attributes:
        restorer: the network; None for nothing.
        options: its arguments.
        text: what and why, where there is something to say.
        strength: that the network is told, or the file's; None if there is none.
    """

    restorer: Restorer | None
    options: dict[str, Any]
    text: str
    strength: float | None = None


class Networks:
    """Chooses and opens the networks.

    Args:
        args: of the command line. A network that is asked for by name is opened, and checked against the other options,
            at once.

    Raises:
        InputError: there is no such network, or an option does not fit it.
    """

    def __init__(self, args: Any):
        self._args, self._open = args, {}
        self._task = args.task or next((task for name, task in _IMPLIED.items() if getattr(args, name)), None)
        self.tile = None
        if args.model:
            self._network(args.model)
        elif self._task:
            preset = preset_of(self._task)
            if self._task != "jpeg":  # which depends on the photograph
                self._network(preset)

    def plan(self, photo: Photo) -> Plan:
        """Choose what is done to a photograph.

        Args:
            photo: as it was read.

        Raises:
            InputError: an option does not fit the network.
        """
        reason = ""
        if self._args.model:
            source = self._args.model
        elif self._task:
            source = preset_of(self._task, photo)
        else:
            choice = choose(photo)
            if choice.preset is None:
                return Plan(None, {}, f"nothing to do: {choice.reason}; give --task if it needs something")
            source, reason = choice.preset, f"{choice.preset}, since {choice.reason}"
        restorer, options = self._network(source)
        strength, text = self._strength(restorer, options, photo)
        name = restorer.card.strength
        if strength is not None and restorer.card.conditional:
            options = {**options, name: strength}
        return Plan(restorer, options, ": ".join(filter(None, (reason, text))), strength)

    def plan_raw(self) -> tuple[Restorer, dict[str, Any]]:
        """Return (the network that demosaics raw photographs, its options).

        Raises:
            InputError: an option does not fit raw photographs.
        """
        args = self._args
        if args.task not in (None, "demosaic") or args.sigma is not None or args.quality is not None:
            raise InputError("a raw photograph is demosaiced; leave other tasks and strengths out")
        if args.cfa or args.blend != 1:
            raise InputError("a raw photograph says its pattern, and nothing is blended; leave `cfa` and `blend` out")
        source = args.model or preset_of("demosaic")
        restorer, options = self._network(source)
        if not restorer.task.mosaic:
            raise InputError(f"{source}: restores no mosaics, and so no raw photographs; leave `model` out")
        return restorer, {key: value for key, value in options.items() if key not in ("cfa", "blend")}

    def _strength(self, restorer, options, photo):
        name, strength = restorer.card.strength, restorer.task.strength
        if strength is None or name in options:
            return options.get(name), ""
        digits = "{:.0f}" if strength.whole else "{:.1f}"
        if restorer.estimates:
            value, found = restorer.find_strength(photo)
            how = strength.found_text if found else f"assumed; give --{name}"
            return value, f"{strength.text} {digits.format(value)}, {how}"
        if photo.jpeg and name == "quality":
            value = photo.jpeg.quality
            return value, f"{strength.text} {value}, {strength.found_text}"
        return None, ""

    def _network(self, source):
        """Return (restorer, its arguments but for what depends on the photograph)."""
        if source not in self._open:
            args = self._args
            restorer = Restorer.from_preset(source, args.task if args.model else None, args.fast, args.precision)
            sizes = {"tile": args.tile, "overlap": args.overlap}
            self.tile = restorer.tiling(**sizes).tile
            restorer.check_cfa(args.cfa)
            restorer.check_blend(args.blend)
            options = {"self_ensemble": args.self_ensemble, "cfa": args.cfa, "blend": args.blend}
            self._open[source] = restorer, {**sizes, **options, **self._asked_strengths(restorer)}
        return self._open[source]

    def _asked_strengths(self, restorer):
        """Return the strength that was asked for by its name; nothing if it is to be found, or the default."""
        name = restorer.card.strength
        if name and getattr(self._args, name) == "auto":
            if not restorer.estimates:
                raise InputError(f"{restorer.runtime.name}: estimates no {name}; give a number or leave `{name}` out")
            return {}
        asked = asked_strength(self._args, restorer.task)
        strengths = {} if asked is None else {name: asked}
        restorer.asked_strength(**strengths)
        return strengths
