"""All prompts of one summary at a glance: accuracy, pass@k, maj@k, how hard the prompts are, how long the texts."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tamis.summarise import metrics
from tamis.summarise.curves import curve_sizes
from tamis.summarise.intervals import mean_interval
from tamis.summarise.per_prompt import RIGHT, PromptSummary
from tamis.summarise.results import CurvePoint, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Own = TypeVar("Own")

MOST_VOTES = 64
"""Rows of a prompt that a vote is taken of: the first so many."""
SHARE_IN_CURVES = 0.9
NUM_HARDEST = 20
_INNER_BINS = 10


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of some rows."""

    num: int
    mean: float = nan
    median: float = nan
    p90: float = nan
    longest: int = 0
    in_bins: tuple[int, ...] = ()  # rows with 0, 1, 2-3, 4-7, 8-15, ... tokens


@dataclass(frozen=True, slots=True)
class Hard:
    """A prompt of low accuracy."""

    prompt: str
    average_accuracy: float
    count: int
    avg_gen_length: float


@dataclass(frozen=True, slots=True)
class Overview:
    """What the rows of all prompts say together; prompts count alike, however many rows they have."""

    num_prompts: int
    num_rows: int
    fewest_rows: int
    most_rows: int
    accuracy: Interval  # mean over prompts of their average accuracy
    in_curves: int  # prompts with at least as many rows as the curves go to
    pass_at_k: tuple[CurvePoint, ...]
    maj_at_k: tuple[CurvePoint, ...]  # empty where answers were not looked for
    bins: tuple[int, ...]  # prompts never right; of average accuracy in ten equal bins between; always right
    right: Lengths
    wrong: Lengths
    num_truncated: int
    num_known_end: int
    num_repeated: int
    num_differing: int  # prompts whose rows do not agree on the reference
    hardest: tuple[Hard, ...]  # the lowest accuracy first; of equals the longest


class Survey:
    """Gathers what an overview needs while prompts go by; a few numbers a prompt and four bytes a row stay."""

    def __init__(self) -> None:
        self._averages: list[float] = []
        self._right: list[NDArray[np.uint32]] = []
        self._wrong: list[NDArray[np.uint32]] = []
        self._counts: list[tuple[int, int]] = []  # rows, right ones
        self._votes: list[tuple[NDArray[np.int32], Floats]] = []
        self._has_answers = True
        self._truncated = self._known_end = self._repeated = self._differing = 0
        self._hardest: list[tuple[float, float, int, Hard]] = []

    def add(self, summary: PromptSummary) -> None:
        """One prompt."""
        average, is_right = summary.average_accuracy, summary.accuracies >= RIGHT
        self._averages.append(average)
        self._right.append(summary.gen_lengths[is_right])
        self._wrong.append(summary.gen_lengths[~is_right])
        self._counts.append((summary.count, int(is_right.sum())))
        self._has_answers = self._has_answers and summary.answers is not None
        if summary.answers is not None:
            self._votes.append((_clusters(summary.answers, is_right)[:MOST_VOTES], is_right[:MOST_VOTES].astype(np.float64)))
        self._truncated += summary.num_truncated
        self._known_end += summary.num_known_end
        self._repeated += summary.num_repeated
        self._differing += summary.differs
        hard = Hard(summary.prompt, average, summary.count, summary.avg_gen_length)
        entry = (-average, hard.avg_gen_length, -len(self._averages), hard)
        if len(self._hardest) < NUM_HARDEST:
            heapq.heappush(self._hardest, entry)
        else:
            heapq.heappushpop(self._hardest, entry)

    def overview(self) -> Overview:
        """The whole."""
        averages = np.array(self._averages)
        rows = [num for num, _ in self._counts]
        end = _most_for(rows)
        members = [place for place, num in enumerate(rows) if num >= end]
        passes = [self._counts[place] for place in members]
        is_share = len(averages) > 0 and averages.min() >= 0.0 and averages.max() <= 1.0
        return Overview(
            num_prompts=len(rows),
            num_rows=sum(rows),
            fewest_rows=min(rows, default=0),
            most_rows=max(rows, default=0),
            accuracy=mean_interval(averages, bounds=(0.0, 1.0) if is_share else None),
            in_curves=len(members),
            pass_at_k=_curve(passes, curve_sizes(end), lambda own, ks: [metrics.pass_at_k(*own, k) for k in ks]),
            maj_at_k=self._majority(members, end) if self._has_answers else (),
            bins=_bins(averages),
            right=_lengths(self._right),
            wrong=_lengths(self._wrong),
            num_truncated=self._truncated,
            num_known_end=self._known_end,
            num_repeated=self._repeated,
            num_differing=self._differing,
            hardest=tuple(entry[3] for entry in sorted(self._hardest, key=lambda entry: entry[:3], reverse=True)),
        )

    def _majority(self, members: Sequence[int], end: int) -> tuple[CurvePoint, ...]:
        votes = [self._votes[place] for place in members]
        return _curve(votes, curve_sizes(min(end, MOST_VOTES)), lambda own, ks: metrics.majority_at(*own, ks))


def survey(summaries: Iterable[PromptSummary]) -> Overview:
    """The overview of prompts."""
    gathered = Survey()
    for summary in summaries:
        gathered.add(summary)
    return gathered.overview()


def _clusters(answers: NDArray[np.signedinteger[Any]], is_right: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Classes of equal answers (R,): the right ones are one, each other text is its own, -1 is none."""
    found = np.where(is_right, answers.max(initial=0) + 1, answers)
    clusters = np.full(len(found), -1, np.int32)
    clusters[found >= 0] = np.unique(found[found >= 0], return_inverse=True)[1]
    return clusters


def _most_for(rows: Sequence[int]) -> int:
    """The largest number of rows that nine prompts of ten have."""
    return sorted(rows)[int((1.0 - SHARE_IN_CURVES) * len(rows))] if rows else 0


def _curve(
    own: Sequence[Own], sizes: list[int], at: Callable[[Own, list[int]], Sequence[float] | Floats]
) -> tuple[CurvePoint, ...]:
    if not own:
        return ()
    table = np.array([at(prompt, sizes) for prompt in own])
    return tuple(CurvePoint(k, mean_interval(column, bounds=(0.0, 1.0))) for k, column in zip(sizes, table.T, strict=True))


def _bins(averages: Floats) -> tuple[int, ...]:
    inner = averages[(averages > 0.0) & (averages < RIGHT)]
    places = np.minimum((inner * _INNER_BINS + 1e-9).astype(int), _INNER_BINS - 1)
    between = np.bincount(places, minlength=_INNER_BINS)
    return (int((averages <= 0.0).sum()), *map(int, between), int((averages >= RIGHT).sum()))


def _lengths(parts: Sequence[NDArray[np.uint32]]) -> Lengths:
    tokens = np.concatenate(parts) if parts else np.empty(0, np.uint32)
    if not len(tokens):
        return Lengths(0)
    median, p90 = np.quantile(tokens, (0.5, 0.9))
    powers = np.frexp(tokens.astype(np.float64))[1]  # 0 for none, 1 for one, 2 for two or three, ...
    in_bins = tuple(map(int, np.bincount(powers)))
    return Lengths(len(tokens), float(tokens.mean(dtype=np.float64)), float(median), float(p90), int(tokens.max()), in_bins)
