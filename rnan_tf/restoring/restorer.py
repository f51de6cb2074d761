"""One object that restores: a network with all that it needs to know about photographs."""

import numbers
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.photo import Photo, as_photo
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.photos.raw import is_raw
from rnan_tf.restoring.adapters import blended, restore_photo
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.runtime import Runtime
from rnan_tf.restoring.tiling import Predictor, Tiling, asked_tiling
from rnan_tf.restoring.tiling import self_ensemble as _ensemble
from rnan_tf.tasks.strength import Found
from rnan_tf.tasks.task import get_task
from rnan_tf.weights import fast_path

# A path is read; of an array an array is made.
Source = str | os.PathLike[str] | Photo | np.ndarray


class Restorer:
    """Restores photographs with one network; `Restorer.from_preset` opens it.

    One thread at a time may use it.

    Args:
        runtime: the network.

    Attributes:
        card: what the network is for.
        task: the task, with its degradation and how it is scored.
    """

    def __init__(self, runtime: Runtime):
        self.runtime, self.card, self.task = runtime, runtime.card, get_task(runtime.card.task)

    @classmethod
    def from_preset(
        cls,
        source: str | Path,
        task: str | None = None,
        fast: bool = False,
        precision: str = "float32",
        load_weights: bool = True,
    ) -> "Restorer":
        """Open a trained network.

        Args:
            source: a preset's name (see `list_presets`), a `.keras`, `.tflite` or `.onnx` file, the folder of a
                SavedModel or of a training run.
            task: what it was trained for, if its file does not say.
            fast: take the preset's int8 network, which runs without TensorFlow; its card says what it loses.
            precision: of the computation: "float32", or of a Keras model "bfloat16", which is faster and a little
                worse, if the processor has instructions for it.
            load_weights: False reads its card alone, which is quick; it restores nothing then.

        Raises:
            InputError: there is no such network, it is damaged, was trained for another task, or cannot be run in this
                precision here.
        """
        runtime = open_runtime(fast_path(str(source)) if fast else source, task, precision, load_weights)
        runtime.name = str(source)  # what the user calls it
        return cls(runtime)

    def __call__(
        self,
        photo: Source,
        *,
        sigma: float | np.ndarray | None = None,
        quality: float | None = None,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
        cfa: str | None = None,
        blend: float = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> Photo | np.ndarray:
        """Restore a photograph of any size, in tiles.

        Args:
            photo: a path, a `Photo`, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16. For demosaicing a
                single-channel Bayer image, or an RGB one whose unsampled positions are zero.
            sigma: the noise's, on the 0-255 scale; where it differs over the photograph, an array (rows, columns) of
                those of equal parts. Estimated, from place to place, if left out.
            quality: the JPEG quality, 1-100; if left out, that of the JPEG file, else a default.
            self_ensemble: average over eight turns and flips: a little better, eight times slower.
            tile: largest height and width that is restored at a time, a multiple of 4.
            overlap: pixels that neighbouring tiles share, a multiple of 4.
            cfa: a mosaic's colours at (0,0) (0,1) (1,0) (1,1), "GRBG" if left out.
            blend: how much of the restoration is in the result, 0 to 1; the rest is the photograph, enlarged
                bicubically where the network enlarges.
            progress: called as progress(tiles done, tiles in all); what it raises ends the restoration.

        Returns:
            The restored photograph, `scale` times larger, in the bit depth of `photo`: an array of an array's number of
            dimensions (demosaiced ones have three), else a `Photo`, with alpha, ICC profile and metadata kept.

        Raises:
            InputError: the photograph or an option does not fit the network.
        """
        asked = self.asked_strength(sigma=sigma, quality=quality)
        cfa = self.check_cfa(cfa)
        self.check_blend(blend)
        tiles = self.tiling(tile, overlap, margin=self_ensemble or cfa != CFA_PATTERNS[0])
        if isinstance(photo, (str, os.PathLike)) and is_raw(photo):
            raise InputError(f"{photo}: is a camera raw file; give it to `rnan_tf.restore`")
        given = as_photo(photo)
        strength = self.find_strength(given).strength if asked is None else asked
        predict = self.predictor(strength, self_ensemble)
        strengths = strength if isinstance(strength, np.ndarray) else None
        restored = restore_photo(given, self.task, predict, tiles, cfa, progress, strengths)
        restored = blended(restored, given, blend)
        if not isinstance(photo, np.ndarray):
            return restored
        flat = photo.ndim == 2 and restored.pixels.shape[2] == 1
        return restored.pixels[..., 0] if flat else restored.pixels

    def find_strength(self, photo: Photo) -> Found:
        """Return the strength that is used where none is given.

        Args:
            photo: as it was read.

        Returns:
            One that the network was trained for, or several, of parts of the photograph; 0 for a task without.
        """
        strength = self.task.strength
        found = strength.find(photo) if strength and self.card.conditional else None
        if found is None or self.card.strengths is None:
            return Found(self.default_strength, of_photo=False)
        trained = np.clip(found.strength, *self.card.strengths)
        return found._replace(strength=trained if np.ndim(trained) else float(trained))

    @property
    def estimates(self) -> bool:
        """Whether it finds the strength of a photograph's degradation where none is given."""
        return self.card.conditional and self.task.strength is not None

    @property
    def default_strength(self) -> float:
        """The task's usual strength, or the nearest that the network was trained for; 0 for a task without."""
        return self.task.nearest(self.card.strengths)

    def predictor(self, strength: float | np.ndarray, self_ensemble: bool = False) -> Predictor:
        """Return the network at a strength as a function of batches of tiles.

        Args:
            strength: in the user's unit; a network that is not told it ignores it. Of several, over the photograph, it
                must be given each tile's with a batch.
            self_ensemble: average over eight turns and flips.
        """
        predict = self.runtime.run if isinstance(strength, np.ndarray) else self.runtime.at(strength)
        return _ensemble(predict, is_mosaic=self.task.mosaic) if self_ensemble else predict

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
        tiling = self.runtime.tiling
        if self.card.tile is None:
            return asked_tiling(tile, overlap, tiling)
        if tile is not None or overlap is not None:
            raise InputError(f"{self.runtime.name}: its tiles have a fixed size; leave `tile` and `overlap` out")
        if margin and self.task.mosaic:
            return replace(tiling, tile=tiling.tile - 4, overlap=min(tiling.overlap, (tiling.tile - 4) // 8 * 4))
        return tiling

    def asked_strength(self, **strengths: float | np.ndarray | None) -> float | np.ndarray | None:
        """Check the strength that was asked for.

        Args:
            **strengths: `sigma` or `quality`, in the user's unit; None is as good as left out.

        Returns:
            The strength, or those of parts of the photograph, or None if none was given.

        Raises:
            InputError: the network's task has no such strength, or it was trained for others.
        """
        for name, value in strengths.items():
            if value is None:
                continue
            if name != self.card.strength or self.card.strengths is None:
                raise InputError(f"{self.runtime.name}: task {self.task.name} has no {name}; leave `{name}` out")
            is_map = isinstance(value, np.ndarray) and value.ndim == 2 and value.size > 0 and value.dtype.kind in "iuf"
            if not (isinstance(value, numbers.Real) or is_map):
                raise InputError(
                    f"`{name}` must be a number, or an array (rows, columns) of them; leave it out for an estimate or "
                    f"the default; got {value!r}"
                )
            low, high = self.card.strengths
            if low < high and not self.card.conditional:
                raise InputError(f"{self.runtime.name}: is not told the {name}; leave `{name}` out")
            for each in np.ravel(value):
                self.check_strength(each)
            return value
        return None

    def check_cfa(self, cfa: str | None) -> str:
        """Return the pattern of a mosaic's colours, the default if None is given.

        Raises:
            InputError: one was given, but the network restores no mosaics.
        """
        if cfa is not None and not self.task.mosaic:
            raise InputError(f"{self.runtime.name}: restores no mosaics; leave `cfa` out")
        return cfa or CFA_PATTERNS[0]

    def check_blend(self, blend: float) -> None:
        """Check how much of the restoration is asked for.

        Raises:
            InputError: it is not from 0 to 1, or the network restores mosaics, which cannot be mixed with.
        """
        if not 0 <= blend <= 1:
            raise InputError(f"`blend` must be from 0 to 1; got {blend:g}")
        if blend < 1 and self.task.mosaic:
            raise InputError(f"{self.runtime.name}: mosaics cannot be mixed with results; leave `blend` out")

    def check_strength(self, strength: float) -> float:
        """Return a strength, if the network was trained for it.

        Raises:
            InputError: it was not.
        """
        (low, high), name = self.card.strengths or (0, 0), self.card.strength
        if not low <= strength <= high:
            trained = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise InputError(
                f"{self.runtime.name}: trained for {name} {trained}, not {strength:g}; give such a `{name}` or another "
                "model"
            )
        return strength
