"""Where and when: places of patches in their tables, rotary positions of tokens, and the features of a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NUM_TIME_FEATURES = 256


def grid_places(height: int, width: int, side: int) -> Tensor:
    """The rows (height width,) that the patches of a grid take in a table of side x side places."""
    rows = torch.arange(height)[:, None] * side
    return (rows + torch.arange(width)).flatten()


def time_features(times: Tensor) -> Tensor:
    """Cosines, then sines, of times (T,) in [0, 1] at falling frequencies (T, 256)."""
    half = NUM_TIME_FEATURES // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=times.device) / half)
    angles = times.float()[:, None] * frequencies  # (T, 128)
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotary(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, head_dim) of positions (T,), both halves alike."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions.float()[:, None] * theta**-exponents  # (T, head_dim / 2)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Heads (T, H, D) turned by cosines and sines (T, D): the first half of D is paired with the second."""
    cos, sin = (part[:, None].to(heads.dtype) for part in turn)
    first, second = heads.chunk(2, -1)
    return heads * cos + torch.cat([-second, first], -1) * sin
