"""Chain of embedding (Wang et al., ICLR 2025, arXiv 2410.13640), docs/methods.md section 4.

`row` is one row of `EmbeddingChain.values` (..., 2 L + 2): L lengths M, L angles A, then Z_M and Z_A of the whole way.
Higher is better. NaN where the whole way has no length or no angle, for then nothing can be told apart. With one layer R is 0
and C is 1, always: no information.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_LEAST_WAY = 1e-12


def coe_r(row: Array) -> Array:
    """CoE-R: mean M / Z_M minus mean A / Z_A, (...)."""
    lengths, angles = _relative(row)
    return np.asarray(lengths.mean(-1) - angles.mean(-1))


def coe_c(row: Array) -> Array:
    """CoE-C: the absolute value of mean (M / Z_M) exp(i A / Z_A), (...); both parts normalised, as the official code does."""
    lengths, angles = _relative(row)
    return np.asarray(np.abs((lengths * np.exp(1j * angles)).mean(-1)))


def _relative(row: Array) -> tuple[Array, Array]:
    """M / Z_M and A / Z_A, (..., L) each."""
    row = np.asarray(row, dtype=np.float64)
    num_layers = row.shape[-1] // 2 - 1
    whole = np.where(row[..., -2:] > _LEAST_WAY, row[..., -2:], np.nan)
    return row[..., :num_layers] / whole[..., :1], row[..., num_layers:-2] / whole[..., 1:]
