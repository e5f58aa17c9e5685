"""The selection rules, docs/methods.md section 8, as pure functions of clusters and scores.

Every rule takes `clusters` (S, N) ints and `scores` (S, N) floats: S problems (or S draws from one pool) of N samples each.
Cluster -1 is a sample without an answer: it casts no vote, and best-of-N takes it only where no sample has an answer.
A missing score is -inf (NaN too); as the weight of a vote it counts 0.

Ties. Best-of-N: the first sample. Votes: the larger total, then the better best member, then the cluster seen first; the
winner is stood for by its best member, the first of them. Totals compare exactly: they are summed from small to large, so
that the order of the samples cannot change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.integer]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a rule took."""

    index: NDArray[np.intp]  # (S,) position of the chosen sample; -1: abstains, for no sample has an answer
    totals: Floats  # (S, C) votes of each cluster, NaN where it has none; C = 0 where nothing was voted on
    accepted: Bools  # (S,) False: a threshold was asked for and nothing reached it
    num_paid: NDArray[np.intp] | None = None  # (S,) the samples it had to see, the first so many; None: all


def first_sample(clusters: Ints, scores: Floats) -> Outcome:  # noqa: ARG001 - all rules are called alike
    """The first sample, whatever it says: what one gets without any selection."""
    return _taken(np.zeros(len(clusters), dtype=np.intp))


def best_of_n(clusters: Ints, scores: Floats) -> Outcome:
    """The sample of the best score among those with an answer (among all where none has one)."""
    scores = _ordered(scores)
    allowed = _allowed(clusters)
    top = np.where(allowed, scores, -np.inf).max(axis=1, keepdims=True)
    return _taken(np.argmax(allowed & (scores == top), axis=1))


def rejection(clusters: Ints, scores: Floats, threshold: float) -> Outcome:
    """The first sample, in order, whose score reaches the threshold; where none does, best-of-N, not accepted."""
    passing = _allowed(clusters) & (_ordered(scores) >= threshold)
    accepted = np.asarray(passing.any(axis=1))
    index = np.where(accepted, np.argmax(passing, axis=1), best_of_n(clusters, scores).index)
    return Outcome(index, np.empty((len(index), 0)), accepted)


def majority(clusters: Ints, scores: Floats | None = None) -> Outcome:  # noqa: ARG001 - all rules are called alike
    """Self-consistency (Wang et al. 2203.11171): the largest cluster; scores play no part, not even in ties."""
    return _tally(clusters, np.ones(clusters.shape), np.full(clusters.shape, -np.inf), clusters >= 0)


def borda(clusters: Ints, scores: Floats, p: float, rank_over: Literal["all", "valid"] = "all") -> Outcome:
    """Borda vote of power p (Kang et al. 2502.18581): the sample of rank r weighs (N - r + 1)^p.

    Rank 1 is the best score; equal scores rank in order. Over `all`, samples without an answer take up ranks, and their votes
    are lost; over `valid` they do not. p = 0 is the majority vote (ties apart: here scores break them); a large p is best-of-N.
    """
    scores = _ordered(scores)
    valid = clusters >= 0
    order = np.argsort(-scores, axis=1, kind="stable")
    num_ranked = np.full(len(clusters), clusters.shape[1])
    if rank_over == "valid":
        last = np.argsort(~np.take_along_axis(valid, order, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(order, last, axis=1)
        num_ranked = valid.sum(axis=1)
    points = np.empty(clusters.shape)
    falling = num_ranked[:, None] - np.arange(clusters.shape[1])  # N - r + 1, of which only the valid are used
    np.put_along_axis(points, order, np.maximum(falling, 0).astype(np.float64) ** p, axis=1)
    return _tally(clusters, points, scores, valid)


def paper_power(num_samples: int) -> float:
    """Borda's p for N samples: 0.3 up to 16 and 1.2 from 32 on, as in 2502.18581; between them linear in log N (ours)."""
    return float(np.interp(np.log2(num_samples), [4.0, 5.0], [0.3, 1.2]))


def weighted_vote(clusters: Ints, scores: Floats, how: Literal["sum", "mean"] = "sum") -> Outcome:
    """Each sample weighs its score; a cluster has the sum or the mean of its members.

    Weights must be >= 0: with negative scores (log-probabilities, entropies) a sum favours small clusters. Use `borda` there.
    """
    scores = _ordered(scores)
    return _tally(clusters, _weights(scores), scores, clusters >= 0, how)


def filtered_vote(clusters: Ints, scores: Floats, eta: float) -> Outcome:
    """DeepConf offline (Fu et al. 2508.15260): only the top share `eta` by score votes, each with its score as weight.

    Kept is what reaches the (1 - eta) quantile (type 7, linear) of the scores of the samples with an answer.
    """
    scores = _ordered(scores)
    valid = clusters >= 0
    return _tally(clusters, _weights(scores), scores, valid & (scores >= _quantile(scores, valid, 1.0 - eta)))


# --- parts -----------------------------------------------------------------------------------------------------------


def _taken(index: NDArray[np.intp]) -> Outcome:
    return Outcome(index, np.empty((len(index), 0)), np.ones(len(index), dtype=np.bool_))


def _ordered(scores: Floats) -> Floats:
    """Scores that can be compared: NaN is -inf."""
    return np.where(np.isnan(scores), -np.inf, scores)


def _weights(scores: Floats) -> Floats:
    return np.where(np.isfinite(scores), scores, 0.0)


def _allowed(clusters: Ints) -> Bools:
    """Which samples may be taken: those with an answer, or all where there is none."""
    valid = clusters >= 0
    return np.asarray(valid | ~valid.any(axis=1, keepdims=True))


def _quantile(scores: Floats, valid: Bools, q: float) -> Floats:
    """Quantile (type 7) of each row's valid finite scores, (S, 1); -inf where there are none."""
    counted = valid & np.isfinite(scores)
    num = counted.sum(axis=1, keepdims=True)
    rising = np.sort(np.where(counted, scores, np.inf), axis=1)
    rising = np.where(np.isfinite(rising), rising, 0.0)  # only there to be taken from
    place = np.round(np.maximum(num - 1, 0) * q, 9)  # 10 * 0.7 must not be 7.000000000000001
    low = np.floor(place).astype(np.intp)
    below = np.take_along_axis(rising, low, axis=1)
    above = np.take_along_axis(rising, np.minimum(low + 1, np.maximum(num - 1, 0)), axis=1)
    return np.where(num > 0, below + (above - below) * (place - low), -np.inf)


def _tally(clusters: Ints, weights: Floats, scores: Floats, voting: Bools, how: Literal["sum", "mean"] = "sum") -> Outcome:
    """Sum the weights of those voting, find each row's winner by the tie rule, and its best member."""
    num_rows, num_samples = clusters.shape
    num_clusters = int(clusters.max(initial=-1)) + 1
    if not num_clusters:
        return Outcome(np.full(num_rows, -1), np.empty((num_rows, 0)), np.ones(num_rows, dtype=np.bool_))
    shape = (num_rows, num_clusters)

    rising = np.argsort(weights, axis=1, kind="stable")  # the order of summation, see above
    clusters, voting = np.take_along_axis(clusters, rising, axis=1), np.take_along_axis(voting, rising, axis=1)
    weights, scores = np.take_along_axis(weights, rising, axis=1), np.take_along_axis(scores, rising, axis=1)
    num_cells = num_rows * num_clusters
    rows, columns = np.nonzero(voting)
    cell = rows * num_clusters + clusters[rows, columns]
    counts = np.bincount(cell, minlength=num_cells).reshape(shape)
    sums = np.bincount(cell, weights[rows, columns], minlength=num_cells).reshape(shape)
    totals = np.asarray(sums / np.maximum(counts, 1) if how == "mean" else sums, dtype=np.float64)
    best = np.full(shape, -np.inf)
    np.maximum.at(best.reshape(-1), cell, scores[rows, columns])
    first = np.full(shape, num_samples)
    np.minimum.at(first.reshape(-1), cell, rising[rows, columns])

    leads = counts > 0
    leads &= totals == np.where(leads, totals, -np.inf).max(axis=1, keepdims=True)
    leads &= best == np.where(leads, best, -np.inf).max(axis=1, keepdims=True)
    winner = np.argmin(np.where(leads, first, num_samples), axis=1)[:, None]
    stands = voting & (clusters == winner) & (scores == np.take_along_axis(best, winner, axis=1))
    index = np.where(stands, rising, num_samples).min(axis=1)
    return Outcome(
        np.where(leads.any(axis=1), index, -1), np.where(counts > 0, totals, np.nan), np.ones(num_rows, dtype=np.bool_)
    )
