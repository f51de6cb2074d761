"""One object that restores: a network with all that it needs to know about photographs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.network.model import RNAN
from rnan_tf.photos.photo import Photo, check_writable, read_photo, write_photo
from rnan_tf.restoring import loading, runtimes, tiling
from rnan_tf.restoring.adapters import restore_photo
from rnan_tf.restoring.card import ModelCard
from rnan_tf.restoring.presets import preset_of
from rnan_tf.restoring.tiling import Predictor, Tiling
from rnan_tf.tasks.task import Task

# A path is read; of an array an array is made.
Source = TypeVar("Source", str, os.PathLike, Photo, np.ndarray)
STRENGTHS = {"noise sigma": "sigma", "JPEG quality": "quality"}


class Restorer:
    """Restores photographs with one network; make it by `Restorer.from_preset`.

    One thread at a time may use it.

    Attributes:
        card: what the network is for.
        task: the task, with its degradation and protocol.
    """

    def __init__(self, model: RNAN | runtimes.Artifact, task: Task, strengths: tuple[float, float], name: str):
        exported = isinstance(model, runtimes.Artifact)
        metadata = dict(model.metadata)
        self.task, self._model, self._strengths, self._name = task, model, strengths, name
        self.card = ModelCard(
            task=task.name,
            scale=model.scale,
            channels=model.channels,
            strength=STRENGTHS.get(task.level_name),
            strengths=strengths if task.level_name in STRENGTHS else None,
            conditional=model.conditional,
            tile=metadata["tile"] if exported else None,
            overlap=metadata["overlap"] if exported else None,
            details={key: value for key, value in metadata.items() if key not in ("task", "level", "tile", "overlap")},
        )

    @classmethod
    def from_preset(cls, source: str | Path, task: str | None = None) -> "Restorer":
        """Open a trained network.

        Args:
            source: a preset's name (see `list_presets`), a `.keras`, `.tflite` or `.onnx` file, or the folder of a
                training run.
            task: what it was trained for, if its file does not say.

        Raises:
            InputError: there is no such network, it is damaged, or was trained for another task.
        """
        exported = Path(source).suffix in runtimes.SUFFIXES
        model = runtimes.load_artifact(source) if exported else loading.load_model(source)
        return cls(model, *loading.trained_task(model, source, task), str(source))

    def __call__(
        self,
        photo: Source,
        *,
        sigma: float | None = None,
        quality: float | None = None,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
        cfa: str = "GRBG",
        progress: Callable[[int, int], None] | None = None,
    ) -> Photo | np.ndarray:
        """Restore a photograph of any size, in tiles.

        Args:
            photo: a path, a `Photo`, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16. For demosaicing a
                single-channel Bayer image, or an RGB one whose unsampled positions are zero.
            sigma: the noise's, on the 0-255 scale; estimated if left out.
            quality: the JPEG quality, 1-100; a default if left out.
            self_ensemble: average over eight turns and flips: a little better, eight times slower.
            tile: largest height and width that is restored at a time, a multiple of 4.
            overlap: pixels that neighbouring tiles share, a multiple of 4.
            cfa: a mosaic's colours at (0,0) (0,1) (1,0) (1,1).
            progress: called as progress(tiles done, tiles in all); what it raises ends the restoration.

        Returns:
            The restored photograph, `scale` times larger, in the bit depth of `photo`: an array of an array's number of
            dimensions (demosaiced ones have three), else a `Photo`, with alpha and ICC profile kept.

        Raises:
            InputError: the photograph or an option does not fit the network.
        """
        asked = self._asked(sigma=sigma, quality=quality)
        tiles = self.tiling(tile, overlap, margin=self_ensemble or cfa != "GRBG")
        given = _as_photo(photo)
        predict = self.predictor(self.strength_for(given.pixels) if asked is None else asked, self_ensemble)
        restored = restore_photo(given, self.task, predict, self.card.scale, tiles, cfa, progress)
        if not isinstance(photo, np.ndarray):
            return restored
        flat = photo.ndim == 2 and restored.pixels.shape[2] == 1
        return restored.pixels[..., 0] if flat else restored.pixels

    def strength_for(self, pixels: np.ndarray) -> float:
        """Return the strength that is used where none is given: estimated if the task can, else its default.

        Args:
            pixels: (H, W, C) uint8 or uint16.

        Returns:
            A strength that the network was trained for, in the user's unit; 0 for a task without.
        """
        estimate = self.task.estimate_level if self.card.conditional else None
        return self._trained_for(estimate(pixels)) if estimate else self.default_strength

    @property
    def default_strength(self) -> float:
        """The task's usual strength, or the nearest that the network was trained for."""
        return self._trained_for(self.task.default_level)

    def _trained_for(self, strength):
        low, high = self._strengths
        return min(max(strength, low), high)

    def predictor(self, strength: float, self_ensemble: bool = False) -> Predictor:
        """Return the network at a strength as a function of batches of tiles.

        Args:
            strength: in the user's unit; a network that is not told it ignores it.
            self_ensemble: average over eight turns and flips.
        """
        if isinstance(self._model, runtimes.Artifact):
            predict = self._model.predictor(strength / 255)
        else:
            predict = tiling.model_predictor(self._model, strength / 255)
        return tiling.self_ensemble(predict, is_mosaic=self.task.name == "demosaic") if self_ensemble else predict

    def tiling(self, tile: int | None = None, overlap: int | None = None, margin: bool = False) -> Tiling:
        """Return how images are cut up.

        Args:
            tile: largest height and width; None for the default.
            overlap: pixels that neighbouring tiles share; None for the default.
            margin: whether a mosaic gets a row or a column more before the network sees it, as those of another phase
                and flipped ones do.

        Raises:
            InputError: the sizes do not fit together, or were given for a network whose tile is fixed.
        """
        if self.card.tile is None:
            asked = {"tile": tile, "overlap": overlap}
            return Tiling(**{name: value for name, value in asked.items() if value is not None})
        if tile is not None or overlap is not None:
            raise InputError(f"{self._name}: its tiles have a fixed size; leave tile and overlap out")
        return self._model.tiling(margin=margin and self.task.name == "demosaic")

    def check_strength(self, strength: float) -> float:
        """Return a strength, if the network was trained for it.

        Raises:
            InputError: it was not.
        """
        low, high = self._strengths
        if not low <= strength <= high:
            trained = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise InputError(
                f"{self._name}: trained for level {trained}, not {strength:g}; give such a level or another model"
            )
        return strength

    def _asked(self, **strengths):
        """Return the strength that was given, or None."""
        given = {name: value for name, value in strengths.items() if value is not None}
        for name, value in given.items():
            if name != self.card.strength:
                raise InputError(f"{self._name}: restores {self.card.task}, which has no {name}; leave {name} out")
            self.check_strength(value)
            if not self.card.conditional and self._strengths[0] < self._strengths[1]:
                raise InputError(f"{self._name}: is not told the {name}; leave {name} out")
            return value
        return None


def restore(
    photo: Source,
    target: str | os.PathLike | None = None,
    *,
    task: str | None = None,
    model: str | None = None,
    **options,
) -> Photo | np.ndarray:
    """Restore one photograph; for several make a `Restorer`, which loads its network once.

    Args:
        photo: see `Restorer.__call__`.
        target: the file to write; its extension tells the format.
        task: whose bundled network is taken: one of `list_presets()`.
        model: another network; see `Restorer.from_preset`.
        **options: those of `Restorer.__call__`, such as `sigma` or `self_ensemble`.

    Returns:
        The restored photograph; an array if `photo` is one.

    Raises:
        InputError: there is no such network, the photograph cannot be read, or an option does not fit.
    """
    if model is None and task is None:
        raise InputError("give a task, whose bundled network is taken then, or a model")
    restorer = Restorer.from_preset(model or preset_of(task), None if model is None else task)
    given = _as_photo(photo)
    if target is not None:
        check_writable(target, given)  # before the long computation
    restored = restorer(photo if isinstance(photo, np.ndarray) else given, **options)
    if target is not None:
        write_photo(target, _as_photo(restored))
    return restored


def _as_photo(photo):
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, np.ndarray):
        return Photo(photo[..., None] if photo.ndim == 2 else photo, None, None, "PNG")
    return read_photo(photo)
