"""Pools -> the few numbers of each problem that a comparison needs. One pool at a time; no text is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from tamis.records import Choice, Grade, Pool, Sample
from tamis.select.methods import Method, choose, score_array
from tamis.summarise.results import Health

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What a method took of one problem."""

    right: float  # 1.0, 0.0, or NaN: the choice could not be graded, or the method lacks its score here
    abstained: bool = False
    confidence: float = nan  # higher is surer; NaN where the method says nothing about how sure its choice is
    tokens: float = nan  # of the samples it had to see; NaN where one does not say


@dataclass(frozen=True, slots=True, eq=False)
class ProblemNumbers:
    """One problem, its samples that did not fail and were certain to be drawn (M of them, in order), and what methods took."""

    id: str
    correct: Floats  # (M,) 1.0 right, 0.0 wrong or without an answer, NaN ungraded
    clusters: NDArray[np.int32]  # (M,)
    scores: Mapping[str, Floats]  # scorer -> (M,); only of scorers that have a value for some answer here
    taken: Mapping[str, Taken]
    one_sample: float  # accuracy of one sample drawn at random
    oracle: float  # whether any sample of the pool is right; NaN where only an ungraded one could be
    tokens_all: float  # of the M samples; NaN where one does not say
    tokens_pool: float  # of all that did not fail
    labels: tuple[str, ...]  # values of the metadata fields that were asked for


class Collected:
    """All problems that count, and what was seen on the way. Pools are read in `add` and not kept."""

    def __init__(self, methods: Sequence[Method], group_by: Sequence[str] = (), num_certain: int | None = None) -> None:
        self.methods, self.group_by, self.num_certain = tuple(methods), tuple(group_by), num_certain
        self.problems: list[ProblemNumbers] = []
        self.left_out: Counter[str] = Counter()
        self._health: Counter[str] = Counter()
        self._unsent: Counter[str] = Counter()

    def add(self, pool: Pool) -> None:
        """Let every method choose from one pool, and keep numbers only."""
        _count_health(pool, self._health)
        self._unsent.update(name for sample in pool.samples for name in sample.unsent)
        alive = [i for i, sample in enumerate(pool.samples) if sample.error is None]
        correct = np.array([_right(pool.grades[i]) for i in alive]) if pool.grades else np.full(len(alive), nan)
        if pool.problem.answer is None:
            self.left_out["without a reference answer"] += 1
        elif not alive:
            self.left_out["without a sample that did not fail"] += 1
        elif np.isnan(correct).all():
            self.left_out["of which no sample could be graded"] += 1
        else:
            self.problems.append(self._numbers(pool, alive, correct))

    def _numbers(self, pool: Pool, alive: list[int], correct: Floats) -> ProblemNumbers:
        """Methods choose from all samples; what is expected of fewer comes from those that were certain to be drawn.

        A pool that a stopping rule has ended is no sample of the model's answers: it ends where they agree.
        """
        num = len(alive) if self.num_certain is None else max(1, sum(i < self.num_certain for i in alive))
        clusters = np.array([pool.clusters[i] for i in alive], dtype=np.int32)
        scores = {}
        for scorer in {method.scorer for method in self.methods} - {None}:
            values = score_array(pool.scores, scorer, alive) if scorer in pool.scores else np.full(len(alive), -np.inf)
            # Where there are answers and none of them is scored, a choice by score would be the first sample in disguise.
            if scorer in pool.scores and (np.isfinite(values[clusters >= 0]).any() or not (clusters >= 0).any()):
                scores[str(scorer)] = values
        tokens = np.array([_num_tokens(sample) for sample in pool.samples])
        tokens_pool = float(tokens[alive].sum())
        known = [m for m in self.methods if m.scorer is None or m.scorer in scores]
        return ProblemNumbers(
            id=pool.problem.id,
            correct=correct[:num],
            clusters=clusters[:num],
            scores={name: values[:num] for name, values in scores.items()},
            taken={m.name: _take(pool, m, tokens, tokens_pool) for m in known},
            one_sample=float(np.nanmean(correct[:num])) if not np.isnan(correct[:num]).all() else nan,
            oracle=1.0 if (correct == 1.0).any() else nan if np.isnan(correct).any() else 0.0,
            tokens_all=float(tokens[alive[:num]].sum()),
            tokens_pool=tokens_pool,
            labels=tuple(str(pool.problem.metadata.get(name, "")) for name in self.group_by),
        )

    @property
    def health(self) -> Health:
        """The counts over ALL samples, those of problems left out too."""
        names = ("num_samples", "num_truncated", "num_unparseable", "num_ungraded", "num_failed")
        return Health(**{name: self._health[name] for name in names}, unsent=dict(self._unsent))


def _num_tokens(sample: Sample) -> float:
    return nan if sample.text and not sample.completion_tokens else float(sample.completion_tokens)


def _take(pool: Pool, method: Method, tokens: Floats, tokens_all: float) -> Taken:
    choice, paid = choose(pool, method), tokens_all
    if method.counts_failed:
        paid = float(tokens[: choice.num_paid].sum())
    elif method.num_paid == "one":
        paid = float(tokens[next(i for i, sample in enumerate(pool.samples) if sample.error is None)])
    if choice.index is None:
        return Taken(0.0, abstained=True, tokens=paid)
    position = next(i for i, sample in enumerate(pool.samples) if sample.index == choice.index)
    return Taken(_right(pool.grades[position]), confidence=_confidence(pool, method, choice, position), tokens=paid)


def _confidence(pool: Pool, method: Method, choice: Choice, position: int) -> float:
    """Of a vote: the winner's share of all votes; of a choice by score: the score of what was chosen."""
    if choice.votes:
        total = sum(choice.votes.values())
        return max(choice.votes.values()) / total if total else nan
    value = pool.scores[method.scorer][position] if method.scorer else None
    return nan if value is None else value


def _right(grade: Grade) -> float:
    """1.0, 0.0 (a missing answer is a wrong one), or NaN for an answer that could not be graded."""
    if grade.correct is None:
        return 0.0 if grade.answer is None else nan
    return float(grade.correct)


def _count_health(pool: Pool, health: Counter[str]) -> None:
    health["num_samples"] += len(pool.samples)
    for i, sample in enumerate(pool.samples):
        grade = pool.grades[i] if pool.grades else None
        if sample.error:
            health["num_failed"] += 1
            continue
        health["num_truncated"] += sample.truncated
        if grade is not None and grade.answer is None:
            health["num_unparseable"] += 1
        elif grade is None or grade.correct is None:
            health["num_ungraded"] += 1
