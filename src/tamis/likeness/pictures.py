"""Pictures against references: PSNR and SSIM.

Both need pictures of one size. One that has another is resized to that of its reference (bicubic), and a reference of more than
`MAX_PIXELS` is reduced before.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 2048 * 2048
SMALLEST = 11  # pixels of a side: the window of SSIM
SSIM_RULE = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
"""The settings of the paper (Wang et al. 2004): Gaussian windows of 11 pixels; of colours the mean of the three channels."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two pictures held against each other."""

    psnr: float  # in dB; infinite where they are the same
    ssim: float  # NaN of pictures with less than `SMALLEST` pixels a side


class Pixels:
    """Compares pictures pixel by pixel."""

    signature = "bytes of RGB, after a resize (bicubic) to the size of the reference"

    def __init__(self) -> None:
        """Find out before any picture is opened.

        Raises:
            MissingExtra: scikit-image or Pillow is not installed.
        """
        if any(importlib.util.find_spec(name) is None for name in ("PIL", "skimage")):
            raise MissingExtra("comparing pictures", "metrics")
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity

        self._psnr, self._ssim = peak_signal_noise_ratio, structural_similarity

    def compare(self, picture: Image, reference: Image) -> Likeness:
        """PSNR and SSIM of two pictures in RGB, of one size (see `alike`)."""
        made, wanted = np.asarray(picture), np.asarray(reference)  # (H, W, 3)
        psnr = math.inf if np.array_equal(made, wanted) else float(self._psnr(wanted, made, data_range=255))
        ssim = math.nan
        if min(wanted.shape[:2]) >= SMALLEST:
            ssim = float(self._ssim(wanted, made, channel_axis=2, **SSIM_RULE))
        return Likeness(psnr, ssim)


def alike(picture: Image, reference: Image) -> tuple[Image, Image]:
    """Both in one size: that of the reference, or less where it is very large."""
    from PIL.Image import Resampling

    width, height = reference.size
    if width * height > MAX_PIXELS:
        scale = math.sqrt(MAX_PIXELS / (width * height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
    resized = [
        image if image.size == (width, height) else image.resize((width, height), Resampling.BICUBIC)
        for image in (picture, reference)
    ]
    return resized[0], resized[1]
