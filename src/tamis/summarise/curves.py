"""Accuracy against the number of samples N, for each problem of a pool, docs/methods.md section 10.

Exact for one sample, best-of-N, the majority vote and the oracle. Any other method is run on N-subsets drawn without
replacement: on all of them when there are few, else on seeded random ones, the same for every method. Scores are those
of the whole pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from tamis.select.methods import Method
from tamis.summarise import metrics
from tamis.summarise.collect import ProblemNumbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_SUBSETS = 200
"""How many subsets are drawn where there are more; the methods' least."""


def curve_sizes(num_samples: int) -> list[int]:
    """1, 2, 4, ... and the number itself."""
    return sorted({2**i for i in range(num_samples.bit_length()) if 2**i <= num_samples} | {num_samples}) if num_samples else []


def accuracy_at(problem: ProblemNumbers, method: Method | None, sizes: Sequence[int], seed: int) -> Floats:
    """Expected accuracy of a method (None: the oracle) on one graded problem at each N, (len(sizes),)."""
    correct, clusters = problem.correct, problem.clusters
    if method is None:
        return np.array([metrics.pass_at_k(len(correct), int(correct.sum()), k) for k in sizes])
    if method.curve == "first":
        return np.full(len(sizes), correct.mean())
    scores = np.full(len(correct), -np.inf) if method.scorer is None else problem.scores[method.scorer]
    if method.curve == "best-of-n":
        return metrics.best_of_n_at(metrics.answered_first(scores, clusters), correct, sizes)
    if method.curve == "majority" and len(correct) <= metrics.MAX_EXACT_MAJORITY:
        return metrics.majority_at(clusters, correct, sizes)
    return np.array([_resampled(problem, method, scores, size, seed) for size in sizes])


def _resampled(problem: ProblemNumbers, method: Method, scores: Floats, size: int, seed: int) -> float:
    subsets = draw_subsets(len(problem.correct), size, seed, problem.id)
    chosen = method.rule(problem.clusters[subsets], scores[subsets]).index
    position = np.take_along_axis(subsets, np.maximum(chosen, 0)[:, None], axis=1)[:, 0]
    return float(np.where(chosen >= 0, problem.correct[position], 0.0).mean())


def draw_subsets(num_samples: int, size: int, seed: int, problem_id: str) -> NDArray[np.intp]:
    """Subsets of 0..M-1 as rows in rising order, (S, N): all when they are at most 200, else 200 by seed and problem."""
    if comb(num_samples, size) <= NUM_SUBSETS:
        return _all_subsets(num_samples, size)
    digest = blake2b(f"{seed}:{size}:{problem_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    keys = np.random.default_rng(int.from_bytes(digest)).random((NUM_SUBSETS, num_samples))
    return np.sort(np.argpartition(keys, size - 1, axis=1)[:, :size], axis=1)


@lru_cache(maxsize=256)
def _all_subsets(num_samples: int, size: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(num_samples), size)), dtype=np.intp)
