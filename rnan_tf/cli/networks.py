"""The networks of a restoration, each opened once, and what they are told about a photograph."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnan_tf.cli.options import asked_strength, raw_options
from rnan_tf.errors import InputError, with_dashes
from rnan_tf.photos.photo import Photo
from rnan_tf.photos.raw import RawPhoto
from rnan_tf.restoring.choosing import check_raw_options, choose, implied_task, preset_of
from rnan_tf.restoring.raw_photos import check_demosaics, noise_to_remove, restore_raw
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.tasks.strength import SIGMA, Found
from rnan_tf.tasks.task import get_task


@dataclass(frozen=True)
class Plan:
    """What is done to a photograph.

    Attributes:
        lines: what, why, and what speaks against it.
        task: what is restored; "nothing" if nothing is.
        scale: how many times larger the result is.
        strength: that the network is told, or the file's, or those of parts of the photograph; None if there is none.
        restore: does it, given `progress`; None for nothing.
    """

    lines: tuple[str, ...]
    task: str = "nothing"
    scale: int = 1
    strength: float | np.ndarray | None = None
    restore: Callable[..., Photo] | None = None


class Networks:
    """Chooses and opens the networks.

    Args:
        args: of the command line. A network that is asked for by name is opened, and checked against the other options,
            at once; for a dry run only its card is read.

    Raises:
        InputError: there is no such network, or an option does not fit it.
    """

    def __init__(self, args: Any):
        self._args, self._open = args, {}
        self._task = args.task or implied_task(vars(args))
        self.tile = None
        if args.model:
            self._network(args.model)
        elif self._task:
            preset = preset_of(self._task)
            if self._task != "jpeg":  # which depends on the photograph
                self._network(preset)

    def plan(self, photo: Photo | RawPhoto) -> Plan:
        """Choose what is done to a photograph.

        Args:
            photo: as it was read.

        Raises:
            InputError: an option does not fit the network.
        """
        if isinstance(photo, RawPhoto):
            return self._plan_raw(photo)
        reason = ""
        if self._args.model:
            source = self._args.model
        elif self._task:
            source = preset_of(self._task, photo)
        else:
            choice = choose(photo)
            if choice.preset is None:
                nothing = f"nothing to do: {choice.reason}; give --task if it needs something"
                return Plan(tuple(filter(None, (nothing, self._for_raw()))))
            source, reason = choice.preset, f"{choice.preset}, since {choice.reason}"
        restorer, options = self._network(source)
        found, text = self._strength(restorer, options, photo)
        if found is not None and restorer.card.conditional:
            options = {**options, restorer.card.strength: found.strength}
        doubt = with_dashes(found.doubt) if found else ""
        lines = ": ".join(filter(None, (reason, text))), doubt, self._unused(restorer), self._for_raw()
        return Plan(
            tuple(filter(None, lines)),
            restorer.task.name,
            restorer.card.scale,
            found and found.strength,
            partial(restorer, photo, **options),
        )

    def _unused(self, restorer):
        """Return a line if a strength was asked for that a preset, which the photograph chose, is not told; else ""."""
        name = restorer.card.strength
        asked = getattr(self._args, name) if name else None
        if asked is None or self._args.model or restorer.card.conditional:
            return ""
        return f"--{name} is left out: {restorer.runtime.name} is not told it"

    def _for_raw(self):
        """Return a line if something was asked for that raw photographs alone have; else ""."""
        asked = raw_options(self._args)
        return f"{' and '.join(f'--{name}' for name in asked)} left out: for raw photographs alone" if asked else ""

    def _plan_raw(self, photo):
        args = self._args
        check_raw_options(args.task, args.quality, args.cfa, args.blend)
        source = args.model or preset_of("demosaic")
        restorer, options = self._network(source, is_told=False)
        check_demosaics(restorer)
        kept = {key: value for key, value in options.items() if key not in ("cfa", "blend")}
        found, text = self._noise_of_raw(photo)
        if found:
            kept |= {"denoiser": self._network(preset_of("denoise"))[0], "sigma": found.strength}
        return Plan(
            (f"demosaic, since it is a camera's raw file{text}",),
            "demosaic+denoise" if found else "demosaic",
            strength=found and found.strength,
            restore=partial(restore_raw, photo, restorer, linear=args.linear, **kept),
        )

    def _noise_of_raw(self, raw):
        """Return (the noise that is taken away, None for none; what is said of it)."""
        args = self._args
        is_asked = args.sigma not in (None, "auto")
        sigma = asked_strength(args, get_task(args.task or "denoise")) if is_asked else None
        found = noise_to_remove(raw, args.task, sigma)
        if found is None:
            return None, ""
        text = SIGMA.say(found.strength)
        said = f": {text}" if is_asked else f", since it shows noise: {text}, {SIGMA.found_text}"
        return found, f", and denoise{said}"

    def _strength(self, restorer, options, photo):
        """Return (the strength, None if there is none; what is said of one that was found)."""
        name, strength = restorer.card.strength, restorer.task.strength
        if strength is None:
            return None, ""
        if name in options:
            return Found(options[name]), ""
        if restorer.estimates:
            found = restorer.find_strength(photo)
            how = strength.found_text if found.of_photo else f"assumed; give --{name}"
            said = f"{strength.say(found.strength)}, {how}"
            if name == "quality" and photo.jpeg and photo.jpeg.quality != found.strength:  # none that it knows
                own = strength.say(photo.jpeg.quality)
                said = f"{own}, {how}; {restorer.runtime.name} is told {found.strength:g}"
            return found, said
        if photo.jpeg and name == "quality":
            return Found(photo.jpeg.quality), f"{strength.say(photo.jpeg.quality)}, {strength.found_text}"
        return None, ""

    def _network(self, source, is_told=True):
        """Return (restorer, its arguments but for what depends on the photograph).

        Args:
            source: see `Restorer.from_preset`.
            is_told: whether strengths that were asked for are its own, and must fit.
        """
        if source not in self._open:
            args = self._args
            options = {"fast": args.fast, "precision": args.precision, "load_weights": not args.dry_run}
            restorer = Restorer.from_preset(source, args.task if args.model else None, **options)
            sizes = {"tile": args.tile, "overlap": args.overlap}
            self.tile = restorer.tiling(**sizes).tile
            restorer.check_cfa(args.cfa)
            restorer.check_blend(args.blend)
            options = {"self_ensemble": args.self_ensemble, "cfa": args.cfa, "blend": args.blend}
            strengths = self._asked_strengths(restorer) if is_told else {}
            self._open[source] = restorer, {**sizes, **options, **strengths}
        return self._open[source]

    def _asked_strengths(self, restorer):
        """Return the strength that was asked for by its name; nothing if it is to be found, or the default."""
        name = restorer.card.strength
        if self._unused(restorer):
            return {}
        if name and getattr(self._args, name) == "auto":
            if not restorer.estimates:
                raise InputError(f"{restorer.runtime.name}: estimates no {name}; give a number or leave `{name}` out")
            return {}
        asked = asked_strength(self._args, restorer.task)
        strengths = {} if asked is None else {name: asked}
        restorer.asked_strength(**strengths)
        return strengths
