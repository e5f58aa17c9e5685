"""From mean hidden states to the chain of embedding: the few numbers that are kept of them (records.EmbeddingChain)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    A = TypeVar("A", NDArray[np.float64], Tensor)


def chain_row(mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lengths and angles (..., 2 L + 2) of mean hidden states (..., L + 1, d), in fp64; the columns are `EmbeddingChain`'s.

    An angle next to a state of length 0 is NaN.
    """
    h = np.asarray(mean, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        (lengths, cosines), (whole, whole_cosine) = moves(h)
    angles, whole_angle = (np.arccos(np.clip(cosine, -1.0, 1.0)) for cosine in (cosines, whole_cosine))
    return np.concatenate((lengths, angles, whole, whole_angle), -1)


def moves(h: A) -> tuple[tuple[A, A], tuple[A, A]]:
    """Distances and cosines (..., L) between neighbours of states (..., L + 1, d), and (..., 1) from the first to the last."""
    norms = (h * h).sum(-1) ** 0.5
    near = _move(h[..., :-1, :], h[..., 1:, :], norms[..., :-1] * norms[..., 1:])
    return near, _move(h[..., :1, :], h[..., -1:, :], norms[..., :1] * norms[..., -1:])


def _move(a: A, b: A, norms: A) -> tuple[A, A]:
    way = b - a
    return (way * way).sum(-1) ** 0.5, (a * b).sum(-1) / norms
