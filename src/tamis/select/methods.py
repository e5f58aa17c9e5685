"""The methods by name, and `choose`: one problem's pool -> one choice.

To add a method: write a rule of clusters and scores (see `votes`), add a line to `METHODS`, and show in tests/select/ what
it takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from tamis.errors import UsageError
from tamis.records import Choice, Pool
from tamis.score.registry import SCORERS, STATISTICS
from tamis.score.reward import as_probability
from tamis.select import votes
from tamis.select.stopping import AdaptiveConsistency, AdaptiveDirichlet, Consensus, EarlyStopping
from tamis.select.votes import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Rule = Callable[["NDArray[np.integer]", "Floats"], Outcome]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to take one of several samples."""

    name: str
    scorer: str | None  # the score it goes by; None: it needs none
    rule: Rule
    description: str
    source: str
    curve: Literal["first", "best-of-n", "majority", "other"] = "other"  # how its mean over draws of N samples is computed
    num_paid: Literal["one", "all"] = "all"  # the samples whose tokens it costs, unless its outcome says how many
    counts_failed: bool = False  # it stops after so many samples: those that failed stay in their places, without a vote

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs of samples besides their answers, see `Scorer.needs`."""
        return SCORERS[self.scorer].needs if self.scorer else ()


def best_by(scorer: str) -> Method:
    """Best-of-N by a score; the method has the name of the score."""
    known = SCORERS[scorer]
    description = f"best of N by score: {known.description}"
    return Method(scorer, scorer, votes.best_of_n, description, known.source, curve="best-of-n")


def reject_below(scorer: str, threshold: float) -> Method:
    """Rejection sampling: the first sample whose score reaches the threshold."""
    description = f"first sample with {scorer} of at least {threshold:g}, else the best, not accepted"
    return Method(f"{scorer}>={threshold:g}", scorer, partial(votes.rejection, threshold=threshold), description, "-")


def _paper_borda(clusters: NDArray[np.integer], scores: Floats) -> Outcome:
    return votes.borda(clusters, scores, votes.paper_power(clusters.shape[1]))


def _reward_vote(clusters: NDArray[np.integer], scores: Floats) -> Outcome:
    return votes.weighted_vote(clusters, as_probability(scores))


_KANG = "Kang et al. 2025, arXiv 2502.18581"
_DEEPCONF = "Fu et al. 2025, arXiv 2508.15260"
_AGGARWAL = "Aggarwal et al. 2023, arXiv 2305.11860"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("baseline", None, votes.first_sample, "the first sample", "-", curve="first", num_paid="one"),
        Method(
            "self-consistency",
            None,
            votes.majority,
            "the answer that most samples give",
            "Wang et al. 2022, arXiv 2203.11171",
            curve="majority",
        ),
        Method(
            "borda-self-certainty",
            "mean-self-certainty",
            _paper_borda,
            "vote by rank of mean self-certainty: (N - rank + 1)^p, p = 0.3 up to 16 samples, 1.2 from 32 on",
            _KANG,
        ),
        Method("weighted-deepconf", "deepconf", votes.weighted_vote, "vote weighted by token confidence", _DEEPCONF),
        Method(
            "filtered-deepconf",
            "deepconf",
            partial(votes.filtered_vote, eta=0.1),
            "the 10 % most confident samples vote, weighted by token confidence",
            _DEEPCONF,
        ),
        Method(
            "filtered-deepconf-90",
            "deepconf",
            partial(votes.filtered_vote, eta=0.9),
            "the 90 % most confident samples vote, weighted by token confidence",
            _DEEPCONF,
        ),
        *(best_by(scorer) for scorer in SCORERS),
        Method(  # after the scores: the paper votes by this one
            "cot-decoding",
            "cot-decoding",
            votes.weighted_vote,
            "vote weighted by the gap between the two likeliest tokens of the answer",
            SCORERS["cot-decoding"].source,
        ),
        Method(
            "adaptive-consistency",
            None,
            AdaptiveConsistency(),
            "majority; stops when the leader beats the second",
            _AGGARWAL,
            counts_failed=True,
        ),
        Method(
            "adaptive-dirichlet",
            None,
            AdaptiveDirichlet(),
            "majority; stops when the leader beats all others",
            _AGGARWAL,
            counts_failed=True,
        ),
        Method(
            "esc",
            None,
            EarlyStopping(),
            "the first 5 samples on end that agree, else the majority",
            "Li et al. 2024, arXiv 2401.10480",
            counts_failed=True,
        ),
        Method(
            "deepconf-online",
            "deepconf-online",
            Consensus(),
            "vote weighted by the least confident window; stops when one answer has 95 %",
            _DEEPCONF,
            counts_failed=True,
        ),
        Method("weighted-reward", "reward", _reward_vote, "vote weighted by the sigmoid of the reward", "-"),
    )
}

FREE = tuple(name for name, method in METHODS.items() if set(method.needs) <= {STATISTICS})
"""The methods that cost nothing once the samples are drawn with their token statistics."""


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name.lower(), METHODS, n=1, cutoff=0.75)
        advice = f"Did you mean {near[0]}?" if near else f"Methods: {', '.join(METHODS)}"
        raise UsageError(f"there is no method {name!r}", advice)
    return METHODS[name]


def score_array(scores: Mapping[str, tuple[float | None, ...]], scorer: str | None, positions: list[int]) -> Floats:
    """One scorer's values at some positions of a pool as floats (N,), None as -inf; all -inf without a scorer."""
    if scorer is None:
        return np.full(len(positions), -np.inf)
    row = scores[scorer]
    return np.array([-np.inf if (value := row[i]) is None else value for i in positions], dtype=np.float64)


def choose(pool: Pool, method: Method | str) -> Choice:
    """Let a method take one of a pool's samples. Samples that failed take no part.

    `votes` of the choice are keyed by the answer of each cluster's first member. Without any answer a vote abstains (index
    None), and best-of-N gives the sample of the best score, with answer None.

    Raises:
        UsageError: no such method, or the pool does not have its score.
        ValueError: the pool was not clustered.
    """
    method = find_method(method) if isinstance(method, str) else method
    if method.scorer is not None and method.scorer not in pool.scores:
        raise UsageError(
            f"{method.name} goes by the score {method.scorer}, which these samples do not have",
            "See tamis score, or take self-consistency",
        )
    if len(pool.clusters) != len(pool.samples):
        raise ValueError(f"problem {pool.problem.id}: {len(pool.samples)} samples, {len(pool.clusters)} cluster numbers")
    alive = [i for i, sample in enumerate(pool.samples) if sample.error is None or method.counts_failed]
    if not any(sample.error is None for sample in pool.samples):
        return Choice(pool.problem.id, method.name, None)
    clusters = np.array([pool.clusters[i] for i in alive])
    outcome = method.rule(clusters[None], score_array(pool.scores, method.scorer, alive)[None])
    totals = {_answer_of(pool, cluster): float(total) for cluster, total in enumerate(outcome.totals[0]) if not np.isnan(total)}
    num_paid = int(outcome.num_paid[0]) if outcome.num_paid is not None else None
    taken = int(outcome.index[0])
    if taken < 0:
        return Choice(pool.problem.id, method.name, None, None, totals, num_paid=num_paid)
    position = alive[taken]
    answer = pool.grades[position].answer if pool.grades else None
    index = pool.samples[position].index
    return Choice(pool.problem.id, method.name, index, answer, totals, bool(outcome.accepted[0]), num_paid)


def _answer_of(pool: Pool, cluster: int) -> str:
    """The answer of a cluster's first member; its number where the pool has no answers."""
    leader = pool.clusters.index(cluster)
    return (pool.grades[leader].answer if pool.grades else None) or f"#{cluster}"
