"""Accuracy when k samples of a pool of n, c of them right, are drawn: exact, docs/methods.md section 10.

One problem at a time. "Drawn" is without replacement, all subsets alike, so that no formula here has noise of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_EXACT_MAJORITY = 1000
"""Samples a problem up to which `majority_at` works: binomials of more leave the range of floats."""


def _check(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"{k} of {n} samples with {c} right: k must lie in 1..n and c in 0..n")


@lru_cache(maxsize=65536)
def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k samples hold a right one, 1 - C(n-c, k) / C(n, k) (Chen et al. 2107.03374). ValueError for k > n."""
    _check(n, c, k)
    return 1.0 - comb(n - c, k) / comb(n, k)


def g_pass_at_k(n: int, c: int, k: int, tau: float) -> float:
    """Chance that at least a share tau of k samples is right, one at least (Liu et al. 2412.13147)."""
    # The tolerance: 100 * 0.07 is 7.000000000000001, which would ask for 8.
    return _at_least(n, c, k, max(1, ceil(k * tau - 1e-9)))


def mg_pass_at_k(n: int, c: int, k: int) -> float:
    """Mean of G-Pass@k over the shares above one half, (2/k) sum over i = ceil(k/2)+1 .. k of i/k (2412.13147)."""
    return 2.0 / k * sum(_at_least(n, c, k, i) for i in range(ceil(k / 2) + 1, k + 1))


def _at_least(n: int, c: int, k: int, m: int) -> float:
    _check(n, c, k)
    return sum(comb(c, j) * comb(n - c, k - j) for j in range(m, min(c, k) + 1)) / comb(n, k)


# --- expected best-of-N ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _best_weights(num_samples: int, k: int) -> Floats:
    """Chance that the sample of rank r = 1..M is the best of k drawn, (M,): C(M-r, k-1) / C(M, k)."""
    _check(num_samples, 0, k)
    whole = comb(num_samples, k)
    return np.array([comb(num_samples - r, k - 1) / whole for r in range(1, num_samples + 1)])


def best_of_n_at(scores: Floats, correct: Floats, ks: Sequence[int]) -> Floats:
    """Expected accuracy of the best-scored of k samples, for each k, (..., len(ks)).

    Args:
        scores: (..., M), higher is better; -inf for what can only be taken when nothing else is there.
        correct: (..., M) 1.0 or 0.0.
        ks: how many are drawn, each in 1..M.

    Equal scores share their places evenly.
    """
    order = np.argsort(-scores, axis=-1)
    falling = np.take_along_axis(scores, order, axis=-1)
    begins = np.ones(falling.shape, dtype=np.bool_)
    begins[..., 1:] = falling[..., 1:] != falling[..., :-1]
    group = np.cumsum(begins) - 1  # of equal scores, through all problems
    share = np.bincount(group, weights=np.take_along_axis(correct, order, axis=-1).ravel()) / np.bincount(group)
    weights = np.stack([_best_weights(scores.shape[-1], k) for k in ks], axis=1)
    return np.asarray(share[group].reshape(scores.shape) @ weights)


def answered_first(scores: Floats, clusters: NDArray[np.integer]) -> Floats:
    """Scores of the same order in which every sample with an answer stands above every one without, which are alike."""
    return np.where(clusters >= 0, np.maximum(scores, np.finfo(np.float64).min), -np.inf)


# --- expected majority vote ------------------------------------------------------------------------------------------


def majority_at(clusters: NDArray[np.integer], correct: Floats, ks: Sequence[int]) -> Floats:
    """Expected accuracy of the majority vote over k samples, for each k, (len(ks),).

    Args:
        clusters: (M,) with M <= `MAX_EXACT_MAJORITY`; -1: no answer, drawn but casting no vote.
        correct: (M,) 1.0 or 0.0; the members of a cluster may differ, then the first drawn decides.
        ks: how many are drawn, each in 1..M.

    Ties are split evenly.
    """
    for k in ks:
        _check(len(clusters), 0, k)
    voting = clusters >= 0
    sizes = np.bincount(clusters[voting])
    right = np.bincount(clusters[voting], weights=correct[voting])
    expected = np.zeros(len(ks))
    for target in np.flatnonzero(right):
        others = tuple(sorted(int(s) for i, s in enumerate(sizes) if i != target and s))
        wins = _majority_wins(int(sizes[target]), others, int((~voting).sum()))
        expected += wins[list(ks)] * (right[target] / sizes[target])
    return expected


@lru_cache(maxsize=65536)
def _majority_wins(size: int, others: tuple[int, ...], invalid: int) -> Floats:
    """Chance that a cluster wins the vote over k drawn samples, (M+1,) for k = 0..M; t-fold ties count 1/t.

    Counts subsets by generating functions: for each number a of the cluster's own votes, `ways[t, j]` is the number of ways
    to draw j samples outside it so that t other clusters also have a votes and none has more.
    """
    total = size + sum(others) + invalid
    wins = np.zeros(total + 1)
    for a in range(1, size + 1):
        rivals = [s for s in others if s >= a]
        ways = np.zeros((len(rivals) + 1, total + 1))
        harmless = invalid + sum(s for s in others if s < a)
        ways[0, : harmless + 1] = [float(comb(harmless, j)) for j in range(harmless + 1)]
        for rival in rivals:
            grown = np.zeros_like(ways)
            for b in range(a):
                grown[:, b:] += float(comb(rival, b)) * ways[:, : total + 1 - b]
            grown[1:, a:] += float(comb(rival, a)) * ways[:-1, : total + 1 - a]
            ways = grown
        shared = (ways / np.arange(1, len(ways) + 1)[:, None]).sum(axis=0)
        wins[a:] += float(comb(size, a)) * shared[: total + 1 - a]
    return np.asarray(wins / np.array([float(comb(total, k)) for k in range(total + 1)]))
