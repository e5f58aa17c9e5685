"""Accuracy and cost against the number of samples N, for each problem of a pool, docs/methods.md section 10.

Exact for one sample, best-of-N, the majority vote and the oracle. Any other method is run on N-subsets drawn without
replacement: on all of them when there are few, else on seeded random ones, the same for every method. Scores are those
of the whole pool. Problems are worked on in blocks, so that there is little to do for each of them alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
BLOCK_NUMBERS = 200_000  # drawn for the problems worked on at once: what they need stays within some megabytes


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a method can expect of N of a problem's samples; NaN where it lacks its score."""

    accuracy: Floats  # (P, len(sizes))
    num_paid: Floats  # (P, len(sizes)) samples that it pays for


def curve_sizes(num_samples: int) -> list[int]:
    """1, 2, 4, ... and the number itself."""
    return sorted({2**i for i in range(num_samples.bit_length()) if 2**i <= num_samples} | {num_samples}) if num_samples else []


def expected(
    problems: Sequence[ProblemNumbers], methods: Sequence[Method | None], sizes: Sequence[int], seed: int
) -> list[Expected]:
    """What each method (None: the oracle) gets and pays on graded problems at each N."""
    found = [Expected(*np.full((2, len(problems), len(sizes)), np.nan)) for _ in methods]
    for rows, block in _blocks(problems):
        pairs = list(zip(methods, found, strict=True))
        drawn = [(m, result) for m, result in pairs if m is not None and not _is_exact(m, block)]
        for place, size in enumerate(sizes) if drawn else ():
            subsets = np.stack([draw_subsets(len(p.correct), size, seed, p.id) for p in block])
            for method, result in drawn:
                known, which = _known(rows, block, method)
                accuracy, num_paid = _on_subsets([block[i] for i in which], subsets[which], method)
                result.accuracy[known, place], result.num_paid[known, place] = accuracy, num_paid
        for formula, result in pairs:
            if formula is None or _is_exact(formula, block):
                known, which = _known(rows, block, formula)
                result.accuracy[known] = _exact([block[i] for i in which], formula, sizes)
                result.num_paid[known] = 1.0 if formula is not None and formula.num_paid == "one" else sizes
    return found


def _blocks(problems: Sequence[ProblemNumbers]) -> Iterator[tuple[NDArray[np.intp], list[ProblemNumbers]]]:
    """Rows and problems with the same number of samples, few at a time."""
    counts = np.array([len(p.correct) for p in problems])
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        step = max(1, BLOCK_NUMBERS // (NUM_SUBSETS * int(count)))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield part, [problems[i] for i in part]


def _known(rows: NDArray[np.intp], block: list[ProblemNumbers], method: Method | None) -> tuple[NDArray[np.intp], list[int]]:
    """The problems of a block for which the method has what it needs: their rows, and their places in the block."""
    which = [i for i, p in enumerate(block) if method is None or method.scorer is None or method.scorer in p.scores]
    return rows[which], which


def _is_exact(method: Method, block: list[ProblemNumbers]) -> bool:
    if method.curve == "majority":
        return len(block[0].correct) <= metrics.MAX_EXACT_MAJORITY
    return method.curve in ("first", "best-of-n")


def _exact(block: list[ProblemNumbers], method: Method | None, sizes: Sequence[int]) -> Floats:
    """Accuracies (problems, len(sizes)) by formulas."""
    if not block:
        return np.empty((0, len(sizes)))
    if method is not None and method.curve == "majority":
        return np.array([metrics.majority_at(p.clusters, p.correct, sizes) for p in block])
    correct = np.array([p.correct for p in block])  # (P, M)
    if method is None:
        return np.array([[metrics.pass_at_k(correct.shape[1], int(c), k) for k in sizes] for c in correct.sum(axis=1)])
    if method.curve == "first":
        return np.repeat(correct.mean(axis=1, keepdims=True), len(sizes), axis=1)
    scores, clusters = _scores(block, method), np.array([p.clusters for p in block])
    return metrics.best_of_n_at(metrics.answered_first(scores, clusters), correct, sizes)


def _scores(block: list[ProblemNumbers], method: Method) -> Floats:
    """(P, M); all -inf for a method that goes by no score."""
    if method.scorer is None:
        return np.full((len(block), len(block[0].correct)), -np.inf)
    return np.array([p.scores[method.scorer] for p in block])


def _on_subsets(block: list[ProblemNumbers], subsets: NDArray[np.intp], method: Method) -> tuple[Floats, Floats]:
    """Mean accuracy (P,) and mean number of samples paid for (P,), of a method run on subsets (P, S, N)."""
    if not block:
        return np.empty(0), np.empty(0)
    problem = np.arange(len(block))[:, None, None]
    rows = (-1, subsets.shape[2])
    clusters, scores = np.array([p.clusters for p in block]), _scores(block, method)
    outcome = method.rule(clusters[problem, subsets].reshape(rows), scores[problem, subsets].reshape(rows))
    chosen = outcome.index.reshape(subsets.shape[:2])
    position = np.take_along_axis(subsets, np.maximum(chosen, 0)[:, :, None], axis=2)[:, :, 0]
    correct = np.array([p.correct for p in block])[problem[:, :, 0], position]
    num_paid = np.full(chosen.size, subsets.shape[2]) if outcome.num_paid is None else outcome.num_paid
    return np.where(chosen >= 0, correct, 0.0).mean(axis=1), num_paid.reshape(chosen.shape).mean(axis=1)


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
