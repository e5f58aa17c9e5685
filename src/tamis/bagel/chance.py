"""A row's luck: of its seed alone, so that neither order nor batch nor a resume changes what is drawn."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tamis.identity import lot

NoiseKind = Literal["picture", "reading"]
"""What a picture is drawn from; where in its posterior a picture is read."""


class Chance:
    """Numbers for texts, one a token, and noise for pictures, made on the CPU whatever the model runs on."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = np.random.Generator(np.random.Philox(key=seed))

    def number(self) -> float:
        """The next number in [0, 1)."""
        return float(self._numbers.random())

    def noise(self, kind: NoiseKind, index: int, shape: tuple[int, ...]) -> Tensor:
        """Normal noise (*shape) fp32 for the picture of a row that has this index."""
        generator = torch.Generator().manual_seed(lot(self._seed, kind, index))
        return torch.randn(shape, generator=generator)
