"""The autoencoder: pictures to latents an eighth as wide and high, and back. Names are the checkpoint's (latent diffusion)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu

from tamis.bagel.config import NUM_GROUPS, AutoencoderShape

SCALE = 0.3611
SHIFT = 0.1159
_EPS = 1e-6


class Autoencoder(nn.Module):
    """Latents of this model family are scaled and shifted so that their spread is about one."""

    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        self.encoder = _Encoder(shape)
        self.decoder = _Decoder(shape)

    @property
    def dtype(self) -> torch.dtype:
        """The numbers it computes in."""
        return self.encoder.conv_in.weight.dtype

    def encode(self, image: Tensor, noise: Tensor | None) -> Tensor:
        """Latents (z, H/8, W/8) fp32 of an image (3, H, W): the posterior's mean, or a point of it by `noise` of that shape."""
        mean, log_variance = self.moments(image).chunk(2)
        sampled = mean if noise is None else mean + torch.exp(log_variance / 2) * noise.to(mean.device)
        return SCALE * (sampled - SHIFT)

    def moments(self, image: Tensor) -> Tensor:
        """Mean and logarithm of the variance (2 z, H/8, W/8) of the posterior."""
        return self.encoder(image[None].to(self.dtype))[0].float()

    def decode(self, latents: Tensor) -> Tensor:
        """The image (3, H, W), about [-1, 1], fp32, of latents (z, H/8, W/8)."""
        return self.decoder((latents / SCALE + SHIFT)[None].to(self.dtype))[0].float()


class _Encoder(nn.Module):
    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        widths = shape.widths
        self.conv_in = nn.Conv2d(3, shape.channels, 3, padding=1)
        self.down = nn.ModuleList()
        before = shape.channels
        for level, width in enumerate(widths):
            self.down.append(_Down(before, width, shape.num_blocks, is_last=level == len(widths) - 1))
            before = width
        self.mid = _Middle(before)
        self.norm_out = _norm(before)
        self.conv_out = nn.Conv2d(before, 2 * shape.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
        return self.conv_out(silu(self.norm_out(self.mid(x))))


class _Decoder(nn.Module):
    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        widths = shape.widths
        before = widths[-1]
        self.conv_in = nn.Conv2d(shape.latent_channels, before, 3, padding=1)
        self.mid = _Middle(before)
        stages = []
        for level, width in reversed(list(enumerate(widths))):
            stages.append(_Up(before, width, shape.num_blocks + 1, is_last=level == 0))
            before = width
        self.up = nn.ModuleList(reversed(stages))  # the checkpoint counts from the widest picture
        self.norm_out = _norm(before)
        self.conv_out = nn.Conv2d(before, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for stage in reversed(self.up):
            x = stage(x)
        return self.conv_out(silu(self.norm_out(x)))


class _Down(nn.Module):
    def __init__(self, before: int, width: int, num_blocks: int, *, is_last: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Block(before if i == 0 else width, width) for i in range(num_blocks))
        self.downsample = None if is_last else _Downsample(width)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Up(nn.Module):
    def __init__(self, before: int, width: int, num_blocks: int, *, is_last: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Block(before if i == 0 else width, width) for i in range(num_blocks))
        self.upsample = None if is_last else _Upsample(width)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return x if self.upsample is None else self.upsample(x)


class _Block(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = _norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = _norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(silu(self.norm1(x)))
        y = self.conv2(silu(self.norm2(y)))
        return y + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1 = _Block(width, width)
        self.attn_1 = _PixelAttention(width)
        self.block_2 = _Block(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class _PixelAttention(nn.Module):
    """Every pixel looks at all others, with one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (conv(y).flatten(2).transpose(1, 2)[:, None] for conv in (self.q, self.k, self.v))  # (1, 1, H W, C)
        seen = scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])  # (1, C, H, W)
        return x + self.proj_out(seen)


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1, 0, 1)))  # at the right and at the bottom alone


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(NUM_GROUPS, width, eps=_EPS)
