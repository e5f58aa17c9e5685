"""When enough samples of a problem are drawn, docs/methods.md sections 3 and 9: pure functions of clusters and weights.

A stopping rule is asked with a prefix of the samples, in order of index: `further` is the least number of further samples
after which it could be done, so that nothing is ever drawn that it may not need; 0 says that it is done. Called like any other
selection rule (see `votes`), it looks at samples that are all there, stops where it would have stopped, and says how many it
would have paid for. A sample without an answer, failed or given up (-1), is paid for and does not vote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb, lgamma, sqrt
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tamis.score.online import WARM_UP
from tamis.select.votes import Outcome, majority, weighted_vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.integer]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_NODES = 4000  # of Simpson's rule


class StoppingRule(Protocol):
    """When to stop, and what to take then."""

    def further(self, clusters: Ints, weights: Floats, budget: int) -> int:
        """The least number of samples after which it could be done, given the first n (n,); 0: it is. Never beyond `budget`."""
        ...

    def __call__(self, clusters: Ints, scores: Floats) -> Outcome:
        """What it takes of N samples at most, (S, N), and how many of them it pays for."""
        ...


@dataclass(frozen=True, slots=True)
class AdaptiveConsistency:
    """Stop when the chance that the leading answer beats the second is high enough (Aggarwal et al. 2305.11860)."""

    threshold: float = 0.95

    def further(self, clusters: Ints, weights: Floats, budget: int) -> int:  # noqa: ARG002 - all rules are called alike
        """See `StoppingRule`: as many votes for the leader alone."""
        first, second = sorted([0, 0, *_counts(clusters)])[:-3:-1]
        return min(max(0, least_lead(second, self.threshold) - first), budget - len(clusters))

    def __call__(self, clusters: Ints, scores: Floats) -> Outcome:  # noqa: ARG002
        """See `StoppingRule`: the largest cluster of those drawn."""
        return _majority_until(clusters, _first(self.done(_running_counts(clusters))))

    def done(self, counts: Ints) -> Bools:
        """Where it is done, (..., N), by the votes of each cluster so far (..., N, C)."""
        top = np.partition(counts, -2, axis=-1)
        least = np.array([least_lead(b, self.threshold) for b in range(int(top[..., -2].max(initial=0)) + 1)])
        return np.asarray(top[..., -1] >= least[top[..., -2]])


@dataclass(frozen=True, slots=True)
class AdaptiveDirichlet:
    """The same with the chance that the leading answer beats all others: it asks for more where many are near the second."""

    threshold: float = 0.95

    def further(self, clusters: Ints, weights: Floats, budget: int) -> int:  # noqa: ARG002
        """See `StoppingRule`: as many votes for the leader alone."""
        first, *others = sorted([0, 0, *_counts(clusters)], reverse=True)
        left = budget - len(clusters)
        return next((k for k in range(left) if self._is_done((first + k, *others))), left)

    def __call__(self, clusters: Ints, scores: Floats) -> Outcome:  # noqa: ARG002
        """See `StoppingRule`: the largest cluster of those drawn."""
        counts = _running_counts(clusters)
        possible = AdaptiveConsistency(self.threshold).done(counts)  # to beat all is harder than to beat the second
        done = np.zeros(clusters.shape, dtype=np.bool_)
        waiting = np.ones(len(clusters), dtype=np.bool_)
        for step in range(clusters.shape[1]):
            rows = np.flatnonzero(waiting & possible[:, step])
            falling = -np.sort(-counts[rows, step], axis=1)
            done[rows, step] = [self._is_done(tuple(row)) for row in falling.tolist()]
            waiting[rows[done[rows, step]]] = False
        return _majority_until(clusters, _first(done))

    def _is_done(self, counts: tuple[int, ...]) -> bool:
        first, second, *_ = counts
        if beta_probability(first, second) < self.threshold:
            return False
        return dirichlet_probability((first, second, *(c for c in counts[2:] if c))) >= self.threshold


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """ESC (Li et al. 2401.10480): windows of samples; the first that agrees as a whole wins, else the majority of all.

    A window that the budget does not fill is not begun, unless it is the first.
    """

    window: int = 5

    def further(self, clusters: Ints, weights: Floats, budget: int) -> int:  # noqa: ARG002
        """See `StoppingRule`: to the end of the window."""
        whole, begun = divmod(len(clusters), self.window)
        if self._agree(clusters[None, : whole * self.window]).any():
            return 0
        return max(0, min((whole + 1) * self.window, self._last(budget)) - whole * self.window - begun)

    def __call__(self, clusters: Ints, scores: Floats) -> Outcome:  # noqa: ARG002
        """See `StoppingRule`: an agreeing window's answer, stood for by its first sample."""
        budget = clusters.shape[1]
        agree = self._agree(clusters)
        stopped = agree.any(axis=1)
        first = np.argmax(agree, axis=1) * self.window if agree.shape[1] else np.zeros(len(clusters), dtype=np.intp)
        num_paid = np.where(stopped, first + self.window, self._last(budget))
        voted = _majority_until(clusters, num_paid)
        return replace(voted, index=np.where(stopped, first, voted.index))

    def _agree(self, clusters: Ints) -> Bools:
        """Which windows agree on an answer, (S, windows)."""
        whole = clusters.shape[1] // self.window
        windows = clusters[:, : whole * self.window].reshape(len(clusters), whole, self.window)
        return np.asarray((windows >= 0).all(axis=2) & (windows == windows[:, :, :1]).all(axis=2))

    def _last(self, budget: int) -> int:
        return budget // self.window * self.window or budget


@dataclass(frozen=True, slots=True)
class Consensus:
    """DeepConf online (Fu et al. 2508.15260): stop when one answer has the share `threshold` of all weight.

    The weights are those of the score `deepconf-online`, and the samples those that `Watch` lets pass; what either rejects has
    no vote. A further sample may have any weight: one at a time, after the warm-up.
    """

    threshold: float = 0.95

    def further(self, clusters: Ints, weights: Floats, budget: int) -> int:
        """See `StoppingRule`: the warm-up, then one."""
        num = len(clusters)
        if num < WARM_UP:
            return min(WARM_UP, budget) - num
        return 0 if num >= budget or self._done(clusters[None], weights[None])[0, -1] else 1

    def __call__(self, clusters: Ints, scores: Floats) -> Outcome:
        """See `StoppingRule`: the cluster of most weight of those drawn."""
        done = self._done(clusters, scores)
        done[:, : WARM_UP - 1] = False
        num_paid = _first(done)
        return replace(weighted_vote(_until(clusters, num_paid), scores), num_paid=num_paid)

    def _done(self, clusters: Ints, weights: Floats) -> Bools:
        counted = (clusters >= 0) & np.isfinite(weights)
        totals = np.cumsum(_members(clusters) * np.where(counted, weights, 0.0)[:, :, None], axis=1)
        whole = totals.sum(axis=-1)
        return np.asarray((whole > 0) & (totals.max(axis=-1) >= self.threshold * whole))


RULES: dict[str, Callable[..., StoppingRule]] = {
    "adaptive-consistency": AdaptiveConsistency,
    "adaptive-dirichlet": AdaptiveDirichlet,
    "esc": EarlyStopping,
    "deepconf-online": Consensus,
}
"""By name; each but ESC takes a `threshold`."""


# --- chances ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def beta_probability(a: int, b: int) -> float:
    """P(p > 1/2) of p ~ Beta(a + 1, b + 1), exact: 2^-n times the sum of C(n, j) over j <= a, with n = a + b + 1."""
    n = a + b + 1
    return float(sum(comb(n, j) for j in range(a + 1)) / 2**n)


@lru_cache(maxsize=1 << 12)
def least_lead(b: int, threshold: float) -> int:
    """The least count of the leader with which it is done, when the second has b."""
    a = least_lead(b - 1, threshold) if b else 0
    while beta_probability(a, b) < threshold:
        a += 1
    return a


@lru_cache(maxsize=1 << 16)
def dirichlet_probability(counts: tuple[int, ...]) -> float:
    """P(p_1 > all other p_i) of p ~ Dirichlet(counts + 1), the first count being the leader's; to 1e-12.

    With independent x_i ~ Gamma(counts_i + 1) it is the integral of the first's density times the others' distribution
    functions, which for whole counts k are 1 - exp(-x) * sum of x^j / j! over j <= k.
    """
    first, others = counts[0], counts[1:]
    end = first + 1 + 12 * sqrt(first + 1) + 40.0
    x = np.linspace(0.0, end, _NODES + 1)[1:]  # at 0 the integrand is 0 as soon as there are others
    log_x = np.log(x)
    value = np.exp(first * log_x - x - lgamma(first + 1))
    terms = np.cumsum([np.exp(j * log_x - x - lgamma(j + 1)) for j in range(max(others, default=-1) + 1)], axis=0)
    for k in others:
        value = value * np.maximum(1.0 - terms[k], 0.0)
    simpson = np.where(np.arange(1, _NODES + 1) % 2, 4.0, 2.0)
    simpson[-1] = 1.0
    return float((value * simpson).sum() * end / _NODES / 3.0) if others else 1.0


# --- parts -----------------------------------------------------------------------------------------------------------


def _counts(clusters: Ints) -> list[int]:
    counts: list[int] = np.bincount(clusters[clusters >= 0]).tolist()
    return counts


def _members(clusters: Ints) -> Bools:
    """Which sample is in which cluster, (S, N, C), C >= 2."""
    return np.asarray(clusters[:, :, None] == np.arange(max(2, int(clusters.max(initial=-1)) + 1)))


def _running_counts(clusters: Ints) -> Ints:
    """Votes of each cluster among the first 1 .. N samples, (S, N, C)."""
    return np.cumsum(_members(clusters), axis=1, dtype=np.int16)


def _first(done: Bools) -> NDArray[np.intp]:
    """How many samples each row pays for: up to where it is first done, or all (S,)."""
    return np.asarray(np.where(done.any(axis=1), np.argmax(done, axis=1) + 1, done.shape[1]))


def _until(clusters: Ints, num_paid: NDArray[np.intp]) -> Ints:
    """The clusters with those that are not paid for taken out of the vote."""
    return np.where(np.arange(clusters.shape[1]) < num_paid[:, None], clusters, -1)


def _majority_until(clusters: Ints, num_paid: NDArray[np.intp]) -> Outcome:
    return replace(majority(_until(clusters, num_paid)), num_paid=num_paid)
