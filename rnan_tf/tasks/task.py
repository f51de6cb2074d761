"""The tasks: what is restored, from which degradation, and how the result is measured.

Plain data: nothing here imports TensorFlow before an image is degraded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.photos.pixels import rgb_to_gray_8bit, rgb_to_ycbcr
from rnan_tf.quiet import import_tensorflow
from rnan_tf.tasks.strength import QUALITY, SIGMA, Strength

NOISES = ("gaussian", "camera")
SUBSAMPLINGS = ("4:2:0", "4:4:4", "4:2:2")


def _rgb_to_jpeg_luma(pixels: np.ndarray) -> np.ndarray:
    """The luma plane that JPEG's encoder makes of uint8 RGB."""
    return np.asarray(np.rint(rgb_to_ycbcr(pixels / np.float32(255))[..., :1] * 255), np.uint8)


@dataclass(frozen=True)
class Scoring:
    """How a task's tables measure a restored 8-bit image.

    Attributes:
        luma: measure Y of YCbCr (BT.601, 16 to 235, not rounded) instead of all channels.
        border: pixels left out at every border.
        ssim_window: "gaussian" (11x11, sigma 1.5) or "uniform" (8x8).
        blocking: measure PSNR-B too, which counts the edges of JPEG's blocks as errors.
    """

    luma: bool = False
    border: int = 0
    ssim_window: str = "gaussian"
    blocking: bool = False

    @property
    def least_side(self) -> int:
        """The least height and width of an image that can be measured."""
        return 2 * self.border + (11 if self.ssim_window == "gaussian" else 8)


@dataclass(frozen=True)
class Task:
    """A kind of restoration.

    Attributes:
        name: as on the command line.
        function: the name of its degradation in `rnan_tf.tasks.degradations`.
        options: further arguments of that function.
        channels: of the network's image, 3 (RGB) or 1.
        scale: how many times larger the restored image is.
        strength: what tells how bad the degradation is; None if nothing does.
        conditional: whether a network for a range of strengths is told the strength.
        mosaic: whether the degraded image is a sensor's GRBG mosaic.
        of_luma: whether its one channel is the luma of a colour photograph.
        loss: "l1" or "l2", the paper's.
        busiest_of: of how many pieces `rnan_lite` trains on the busiest; 4 where it is detail that is lost.
        scoring: how results are measured.
        input_text: what the degraded image is called.
    """

    name: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 3
    scale: int = 1
    strength: Strength | None = None
    conditional: bool = False
    mosaic: bool = False
    of_luma: bool = False
    loss: str = "l2"
    busiest_of: int = 1
    scoring: Scoring = Scoring()
    input_text: str = "degraded input"

    @property
    def degradation(self) -> Callable[..., Any]:
        """(clean image, seed, strength) -> degraded image, uint8 tensors; see `rnan_tf.tasks.degradations`."""
        from rnan_tf.tasks import degradations  # here, as TensorFlow takes seconds to import

        return partial(getattr(degradations, self.function), **self.options)

    @property
    def subsamplings(self) -> tuple[str, ...]:
        """The chroma subsamplings of its codec, one of which is drawn for each image; empty without such a choice."""
        return tuple(self.options.get("subsampling", ()))

    def with_subsampling(self, *names: str) -> "Task":
        """Return this task with other chroma subsamplings; without names itself.

        Args:
            names: among `SUBSAMPLINGS`.

        Raises:
            InputError: the task has no such choice.
        """
        if not names:
            return self
        if not self.subsamplings:
            raise InputError(f"task {self.name} has no chroma subsampling; leave `subsampling` out")
        return replace(self, options={**self.options, "subsampling": names})

    def with_noise(self, kind: str) -> "Task":
        """Return this task with another kind of noise.

        Args:
            kind: among `NOISES`. "camera" depends on the light, and has no strength that a network is told.

        Raises:
            InputError: the task has no noise.
        """
        if kind == NOISES[0]:
            return self
        if self.strength is not SIGMA:
            raise InputError(f"task {self.name} has no noise; leave `noise` out")
        return replace(self, function="add_camera_noise", strength=None, conditional=False)

    def of_pairs(self) -> "Task":
        """Return this task for images that are degraded already, by whatever: without a strength.

        Raises:
            InputError: its degradation is known, and nothing that pairs could tell.
        """
        if self.mosaic:
            raise InputError(f"task {self.name} makes its mosaics itself; leave `pairs` out, give `data`")
        return replace(self, strength=None, conditional=False, busiest_of=1)

    def parse_strength(self, **texts: str | None) -> tuple[float, float]:
        """Read the strength or the range of strengths that the user gave.

        Args:
            **texts: name -> "50", "0-75" or None, as `Strength.parse` reads it.

        Returns:
            (lowest, highest), equal for a single one; the default if none is given, 0 for a task without strengths.

        Raises:
            InputError: not a strength of this task.
        """
        given = {name: text for name, text in texts.items() if text is not None}
        for name in given:
            self.check_has(name)
        if self.strength is None:
            return 0, 0
        if not given:
            return self.strength.default, self.strength.default
        return self.strength.parse(given[self.strength.name])

    def check_has(self, name: str) -> None:
        """Check that a strength's name is that of this task's.

        Raises:
            InputError: it is not.
        """
        if self.strength is None or self.strength.name != name:
            instead = f"give its `{self.strength.name}`" if self.strength else "leave it out"
            raise InputError(f"task {self.name} has no `{name}`; {instead}")

    def at(self, strength: float) -> str:
        """Return ", noise sigma 50" for headings, nothing for a task without strengths."""
        return f", {self.strength.text} {strength:g}" if self.strength else ""

    def nearest(self, strengths: tuple[float, float] | None) -> float:
        """Return the default strength, or the nearest within a range; 0 for a task without strengths."""
        if self.strength is None or strengths is None:
            return 0
        return min(max(self.strength.default, strengths[0]), strengths[1])

    def clean(self, pixels: np.ndarray) -> np.ndarray:
        """Turn a photograph into a clean image of this task.

        Args:
            pixels: (H, W, 1 or 3) uint8.

        Returns:
            (H, W, channels) uint8, cropped to multiples of `scale`: gray by MATLAB's weights for `denoise-gray`, the
            luma of JPEG for `jpeg`.
        """
        height, width = (size - size % self.scale for size in pixels.shape[:2])
        pixels = pixels[:height, :width]
        if pixels.shape[2] == self.channels:
            return pixels
        if self.channels == 3:
            return np.repeat(pixels, 3, axis=2)
        return _rgb_to_jpeg_luma(pixels) if self.of_luma else rgb_to_gray_8bit(pixels)

    def degrade(self, clean: np.ndarray, seed: tuple[int, int], strength: float = 0) -> np.ndarray:
        """Degrade a clean image.

        Args:
            clean: (H, W, channels) uint8, cropped by `clean`.
            seed: two integers.
            strength: in the user's unit; a task without ignores it.

        Returns:
            (H / scale, W / scale, channels) uint8.
        """
        strength = int(strength) if float(strength).is_integer() else strength
        with _on_cpu():
            return np.asarray(self.degradation(clean, seed, strength))

    def baseline(self, degraded: np.ndarray) -> np.ndarray:
        """Return the degraded image at the clean one's size: enlarged bicubically where the task enlarges.

        Args:
            degraded: (H, W, channels) uint8.

        Returns:
            (H * scale, W * scale, channels) uint8.
        """
        if self.scale == 1:
            return degraded
        from rnan_tf.tasks.degradations import imresize

        with _on_cpu():
            return np.asarray(imresize(degraded, up=self.scale))


def _on_cpu() -> Any:
    # A GPU would multiply matrices in TensorFloat-32 and draw other noise in the last bits.
    return import_tensorflow().device("CPU")


TASKS = {
    task.name: task
    for task in (
        Task("denoise", "add_noise", busiest_of=2, strength=SIGMA, conditional=True),
        Task("denoise-gray", "add_noise", channels=1, busiest_of=2, strength=SIGMA, conditional=True),
        Task("demosaic", "mosaic", mosaic=True, busiest_of=4, input_text="mosaiced input"),
        Task(
            "jpeg",
            "compress_jpeg",
            channels=1,
            of_luma=True,
            busiest_of=2,
            strength=QUALITY,
            scoring=Scoring(ssim_window="uniform", blocking=True),
        ),
        Task(
            "jpeg-color",
            "compress_color_jpeg",
            {"subsampling": ("4:2:0",)},
            strength=QUALITY,
            conditional=True,
            scoring=Scoring(blocking=True),
        ),
        *(
            Task(
                f"sr-x{scale}",
                "downscale",
                {"scale": scale},
                scale=scale,
                loss="l1",
                busiest_of=4,
                scoring=Scoring(luma=True, border=scale),
                input_text="bicubic enlargement",
            )
            for scale in (2, 3, 4)
        ),
    )
}


def get_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        InputError: there is no such task.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}")
    return TASKS[name]
