"""Isotonic calibration: any score -> the chance of being right, as the best fit that never falls with the score.

Pool adjacent violators (Ayer et al. 1955), used on scores as in Zadrozny & Elkan 2002. `cross_fit` gives each sample the value
of a fit that saw nothing of its own problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """A fit of B levels, rising: each holds from its lowest to its highest score, and between them it is linear."""

    low: Floats  # (B,)
    high: Floats  # (B,)
    value: Floats  # (B,)

    def __call__(self, scores: Floats) -> Floats:
        """The fitted values of any finite scores, (n,); beyond the ends those of the ends."""
        edges = np.stack([self.low, self.high], axis=1).ravel()
        return np.asarray(np.interp(scores, edges, np.repeat(self.value, 2)), dtype=np.float64)


def fit(scores: Floats, y: Floats) -> Isotonic:
    """The rising function of the least squared error to y, (n,) each, n >= 1, scores finite; equal scores are one point."""
    order = np.argsort(scores, kind="stable")
    x, y = scores[order], y[order]
    starts = np.flatnonzero(np.r_[True, x[1:] > x[:-1]])
    weight = np.diff(np.r_[starts, len(x)]).astype(np.float64)
    total = np.add.reduceat(y, starts)
    ends = np.r_[starts[1:], len(x)] - 1
    low, high = x[starts], x[ends]
    # Neighbours that do not rise are one level of the solution, and so, by turns, is a whole run of them: all runs at once.
    while (falls := (mean := total / weight)[1:] <= mean[:-1]).any():
        starts = np.flatnonzero(np.r_[True, ~falls])
        total, weight = np.add.reduceat(total, starts), np.add.reduceat(weight, starts)
        low, high = low[starts], high[np.r_[starts[1:], len(high)] - 1]
    return Isotonic(low, high, mean)


@lru_cache(maxsize=65536)
def fold_of(problem_id: str) -> int:
    """The fold of a problem, 0 to 4, by a hash of its id: the same in every run and order."""
    return blake2b(problem_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()[0] % NUM_FOLDS


def folds_of(problem_ids: Iterable[str], counts: Iterable[int]) -> NDArray[np.intp]:
    """The fold of every sample, (n,), for problems of so many samples each."""
    return np.repeat([fold_of(name) for name in problem_ids], list(counts)).astype(np.intp)


def cross_fit(scores: Floats, y: Floats, folds: NDArray[np.intp]) -> Floats:
    """Calibrated values (n,): each fold by the fit of all the others; NaN where the others are empty."""
    order = np.argsort(scores, kind="stable")  # once; sorting what is sorted costs little
    x, y, folds = scores[order], y[order], folds[order]
    fitted = np.full(len(x), np.nan)
    for fold in np.unique(folds):
        held_out = folds == fold
        if not held_out.all():
            fitted[held_out] = fit(x[~held_out], y[~held_out])(x[held_out])
    result = np.empty_like(fitted)
    result[order] = fitted
    return result
