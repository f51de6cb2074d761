"""The tasks: what is restored, from which degradation, and how the result is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import tensorflow as tf

from rnan_tf.errors import InputError
from rnan_tf.photos.noise import estimate_noise
from rnan_tf.photos.pixels import rgb_to_gray_8bit, rgb_to_ycbcr
from rnan_tf.tasks import degradations
from rnan_tf.tasks.metrics import Protocol


def _rgb_to_jpeg_luma(pixels):
    """The luma plane that JPEG's encoder makes of uint8 RGB."""
    return np.rint(rgb_to_ycbcr(pixels / np.float32(255))[..., :1] * 255).astype(np.uint8)


@dataclass(frozen=True)
class Task:
    """A kind of restoration.

    Attributes:
        name: as on the command line.
        channels: of the network's image, 3 (RGB) or 1.
        degradation: (clean image, seed, level) -> degraded image, uint8 tensors, see `rnan_tf.tasks.degradations`.
        level_name: what the level counts; None for a task without levels.
        level_limits: lowest and highest level.
        default_level: used when none is given.
        paper_levels: the levels of the paper's tables.
        whole_levels: whether levels are whole numbers.
        level_range: whether one model may be trained for a range of levels.
        conditional: whether such a model is told the level.
        estimate_level: pixels of a degraded photograph -> its level; None where nothing estimates it.
        to_gray: (H, W, 3) uint8 -> (H, W, 1) uint8, for a task of one channel.
        scales: whether the restored image is larger, by a factor that is the level.
        loss: "l1" or "l2", the paper's.
        luma: whether only the luma is measured.
        ssim_window: see `Protocol`.
        blocking: whether PSNR-B is measured, which counts the edges of JPEG's blocks as errors.
        subsampled: whether the degradation is a codec with a choice of chroma subsamplings.
    """

    name: str
    channels: int
    degradation: Callable
    level_name: str | None = None
    level_limits: tuple[int, int] = (0, 0)
    default_level: int = 0
    paper_levels: tuple[int, ...] = (0,)
    whole_levels: bool = True
    level_range: bool = False
    conditional: bool = False
    estimate_level: Callable | None = None
    to_gray: Callable = rgb_to_gray_8bit
    scales: bool = False
    loss: str = "l2"
    luma: bool = False
    ssim_window: str = "gaussian"
    blocking: bool = False
    subsampled: bool = False

    def scale(self, level: float) -> int:
        """Return how many times larger the restored image is: the level of `sr`, 1 for the others."""
        return int(level) if self.scales else 1

    def protocol(self, level: float) -> Protocol:
        """Return how the paper's tables measure this task at a level."""
        border = self.scale(level) if self.scales else 0
        return Protocol(self.luma, border, self.ssim_window, self.blocking)

    def with_subsampling(self, *names: str) -> "Task":
        """Return this task with other chroma subsamplings, one of which is drawn for each image; without names itself.

        Args:
            names: among `degradations.SUBSAMPLINGS`.

        Raises:
            InputError: the task has no such choice.
        """
        if not names:
            return self
        if not self.subsampled:
            raise InputError(f"task {self.name} has no chroma subsampling; leave --subsampling out")
        return replace(self, degradation=partial(self.degradation, subsampling=names))

    def clean(self, pixels: np.ndarray, level: float) -> np.ndarray:
        """Turn a photograph into a clean image of this task.

        Args:
            pixels: (H, W, 1 or 3) uint8.
            level: the level, for `sr` the scale: the image is cropped to a multiple of it.

        Returns:
            (H, W, channels) uint8: gray by MATLAB's weights for `denoise-gray`, the luma of JPEG for `jpeg`.
        """
        height, width = (size - size % self.scale(level) for size in pixels.shape[:2])
        pixels = pixels[:height, :width]
        if pixels.shape[2] == self.channels:
            return pixels
        if self.channels == 3:
            return np.repeat(pixels, 3, axis=2)
        return self.to_gray(pixels)

    def parse_level(self, text: str | None) -> tuple[float, float]:
        """Read a level or a range of levels.

        Args:
            text: "50", "0-75" or None for the default.

        Returns:
            (lowest, highest), equal for a single level.

        Raises:
            InputError: not a level of this task.
        """
        if text is None:
            return self.default_level, self.default_level
        if self.level_name is None:
            raise InputError(f"task {self.name} has no level; leave --level out")
        low, high = self.level_limits
        number = "whole number" if self.whole_levels else "number"
        form = f"a {number} from {low} to {high}" + (" or a range such as 10-50" if self.level_range else "")
        try:
            values = [float(part) for part in str(text).split("-")]
        except ValueError:
            values = []
        count = len(values)
        whole = all(value.is_integer() for value in values) or not self.whole_levels
        in_order = count in ((1, 2) if self.level_range else (1,)) and low <= values[0] <= values[-1] <= high
        if not in_order or not whole:
            raise InputError(f"level {text!r} of task {self.name} ({self.level_name}) must be {form}")
        return values[0], values[-1]

    def degrade(self, clean: np.ndarray, seed, level: float) -> np.ndarray:
        """Degrade a clean image.

        Args:
            clean: (H, W, channels) uint8, cropped by `clean`.
            seed: two integers.
            level: a single level.

        Returns:
            (H / scale, W / scale, channels) uint8.
        """
        level = int(level) if float(level).is_integer() else level
        # A GPU would multiply matrices in TensorFloat-32 and draw other noise in the last bits.
        with tf.device("CPU"):
            return self.degradation(clean, seed, level).numpy()

    def baseline(self, degraded: np.ndarray, level: float) -> np.ndarray:
        """Return the degraded image at the clean one's size: enlarged bicubically for `sr`, itself for the others.

        Args:
            degraded: (H, W, channels) uint8.
            level: a single level.

        Returns:
            (H * scale, W * scale, channels) uint8.
        """
        scale = self.scale(level)
        if scale == 1:
            return degraded
        with tf.device("CPU"):
            return degradations.imresize(degraded, up=scale).numpy()


_NOISE = {
    "degradation": degradations.add_noise,
    "level_name": "noise sigma",
    "level_limits": (0, 75),
    "default_level": 50,
    "paper_levels": (10, 30, 50, 70),
    "whole_levels": False,
    "level_range": True,
    "conditional": True,
    "estimate_level": estimate_noise,
}
_JPEG = {
    "level_name": "JPEG quality",
    "level_limits": (1, 100),
    "default_level": 10,
    "paper_levels": (10, 20, 30, 40),
    "level_range": True,
    "blocking": True,
}

TASKS = {
    task.name: task
    for task in (
        Task("denoise", channels=3, **_NOISE),
        Task("denoise-gray", channels=1, **_NOISE),
        Task("demosaic", channels=3, degradation=degradations.mosaic),
        Task(
            "jpeg",
            channels=1,
            degradation=degradations.compress_jpeg,
            to_gray=_rgb_to_jpeg_luma,
            ssim_window="uniform",
            **_JPEG,
        ),
        Task(
            "jpeg-color",
            channels=3,
            degradation=degradations.compress_color_jpeg,
            conditional=True,
            subsampled=True,
            **_JPEG,
        ),
        Task(
            "sr",
            channels=3,
            degradation=degradations.downscale,
            level_name="scale",
            level_limits=(2, 4),
            default_level=2,
            paper_levels=(2, 3, 4),
            scales=True,
            loss="l1",
            luma=True,
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
