"""Pictures as the model sees them: pasted on white, resized by a rule, as tensors in [-1, 1], as rows of patches; and back.

Everything that enters is first brought to the size at which it would be encoded as latents; that picture, and not the
original, is what the vision tower resizes again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MAX_PIXELS = 14 * 14 * 9 * 1024


@dataclass(frozen=True, slots=True)
class SizeRule:
    """Which size a picture gets: its longer side at most `longest`, its shorter at least `shortest`, multiples of `stride`.

    The shorter side wins over the longer where they contradict each other, up to one more pass that shrinks what is left too
    long. Shrinking to `MAX_PIXELS` goes by the ratio of the areas, not its root: so were the models trained.
    """

    longest: int
    shortest: int
    stride: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the rule."""
        scale = max(min(self.longest / max(width, height), 1.0), self.shortest / min(width, height))
        width, height = self._scaled(width, height, scale)
        if width * height > MAX_PIXELS:
            width, height = self._scaled(width, height, MAX_PIXELS / (width * height))
        if max(width, height) > self.longest:
            width, height = self._scaled(width, height, self.longest / max(width, height))
        return width, height

    def resize(self, picture: Image.Image) -> Image.Image:
        """The picture in its new size; itself where that is the old one."""
        size = self.size(*picture.size)
        return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        return self._rounded(width * scale), self._rounded(height * scale)

    def _rounded(self, side: float) -> int:
        return max(self.stride, round(round(side) / self.stride) * self.stride)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture in RGB, pasted over white where it is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    paper = Image.new("RGB", layer.size, "white")
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper


def to_tensor(picture: Image.Image) -> Tensor:
    """Its pixels (3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.uint8))  # (H, W, 3)
    return (pixels.permute(2, 0, 1).float() / 255 - 0.5) / 0.5


def to_pixels(image: Tensor) -> Tensor:
    """What a decoder gives, (3, H, W) around [-1, 1], as bytes (H, W, 3), cut off and not rounded."""
    return ((image.float() / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0)


def to_picture(pixels: Tensor) -> Image.Image:
    """Bytes (H, W, 3) as a picture."""
    return Image.fromarray(pixels.cpu().numpy())


def to_patches(image: Tensor, size: int) -> Tensor:
    """Square patches of an image (C, H, W), row by row (H W / size^2, size size C), each in the order row, column, channel."""
    channels, height, width = image.shape
    grid = image.reshape(channels, height // size, size, width // size, size)  # (C, h, p, w, q)
    return grid.permute(1, 3, 2, 4, 0).reshape(-1, size * size * channels)


def from_patches(patches: Tensor, size: int, height: int, width: int) -> Tensor:
    """The inverse: patches (h w, size size C) of a grid of `height` x `width` patches, as an image (C, H, W)."""
    grid = patches.reshape(height, width, size, size, -1)  # (h, w, p, q, C)
    return grid.permute(4, 0, 2, 1, 3).reshape(-1, height * size, width * size)
