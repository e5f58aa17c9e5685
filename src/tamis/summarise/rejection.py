"""The numbers of a run of rejection sampling: how many pictures were accepted, what each setting is worth, what it took.

Shares and means are over graded candidates only, with intervals in which the picture is the unit: candidates of one picture
are not independent of each other.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from tamis.summarise.intervals import mean_interval, wilson
from tamis.summarise.latency import Latency
from tamis.summarise.results import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.config import Arm
    from tamis.score.grading import Candidate, Rejected


@dataclass(frozen=True, slots=True)
class Group:
    """The candidates that share a setting."""

    num_candidates: int
    num_graded: int
    num_accepted: int
    num_best: int  # pictures of which the best candidate is one of these
    accepted: Interval  # share of the graded
    score: Interval  # mean of the graded, 0 to 100


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens read and written."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Summary:
    """See the module."""

    num_images: int
    num_high: int  # their best candidate reaches the threshold
    num_low: int
    num_failed: int  # nothing could be drawn
    num_ungraded: int  # something was drawn, and nothing of it has a score
    high: Interval  # share of the graded pictures
    num_candidates: int
    num_candidates_failed: int
    num_candidates_ungraded: int
    num_candidates_truncated: int
    reasons: dict[str, int]  # why candidates have no score -> how many
    all: Group  # candidates
    by_prompt: dict[str, Group]
    by_params: dict[str, dict[str, Group]]  # temperature, top_p, top_k -> its value
    by_arm: list[tuple[Arm, Group]]  # of the whole grid what was used, best mean score first
    generation: Latency
    grading: Latency  # of each candidate; the total has calls that candidates share once
    generation_tokens: Tokens
    grading_tokens: Tokens


class Tally:
    """Takes in pictures one by one and gives the numbers so far: a few bytes a candidate are kept, no text."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._num = Counter[str]()
        self._reasons = Counter[str]()
        self._arms: dict[Arm, int] = {}
        self._arm, self._image, self._score = array("l"), array("l"), array("d")  # a candidate each; NaN: ungraded
        self._best = array("b")
        self._generation, self._grading = array("d"), array("d")
        self._grading_total = 0.0
        self._tokens = Counter[str]()

    def add(self, rejected: Rejected) -> None:
        """Take in one picture with its candidates."""
        drawn = [candidate for candidate in rejected.candidates if not candidate.sample.error]
        self._num["high" if rejected.is_accepted else "low" if rejected.best else "ungraded" if drawn else "failed"] += 1
        for candidate in rejected.candidates:
            self._add_candidate(candidate, is_best=candidate is rejected.best)
        self._num["images"] += 1

    def _add_candidate(self, candidate: Candidate, *, is_best: bool) -> None:
        sample, judgement = candidate.sample, candidate.judgement
        score = judgement.score if judgement else None
        self._arm.append(self._arms.setdefault(candidate.arm, len(self._arms)))
        self._image.append(self._num["images"])
        self._score.append(np.nan if score is None else score)
        self._best.append(is_best)
        self._tokens["judge prompt"] += candidate.grading_tokens[0]
        self._tokens["judge completion"] += candidate.grading_tokens[1]
        if sample.error:
            self._num["candidates failed"] += 1
            return
        self._generation.append(sample.seconds)
        self._tokens["prompt"] += sample.prompt_tokens
        self._tokens["completion"] += sample.completion_tokens
        self._num["candidates truncated"] += sample.truncated
        if candidate.grading_seconds:
            self._grading.append(candidate.grading_seconds)
            self._grading_total += candidate.grading_seconds / candidate.num_sharing
        if score is None:
            self._reasons[str(judgement.reason if judgement else "not_asked")] += 1

    def summary(self) -> Summary:
        """The numbers of all that was taken in."""
        num, tokens = self._num, self._tokens
        arms = list(self._arms)
        of_arm = np.bincount(np.asarray(self._arm, dtype=np.int64), minlength=len(arms))
        places = np.split(np.asarray(self._arm).argsort(kind="stable"), of_arm.cumsum()[:-1])  # of candidates, by arm
        groups = [(arm, self._group([places[number]])) for number, arm in enumerate(arms)]
        return Summary(
            num_images=num["images"],
            num_high=num["high"],
            num_low=num["low"],
            num_failed=num["failed"],
            num_ungraded=num["ungraded"],
            high=wilson(num["high"], num["high"] + num["low"]),
            num_candidates=len(self._score),
            num_candidates_failed=num["candidates failed"],
            num_candidates_ungraded=self._reasons.total(),
            num_candidates_truncated=num["candidates truncated"],
            reasons=dict(self._reasons.most_common()),
            all=self._group(places),
            by_prompt=self._groups(arms, places, lambda arm: arm.prompt_key),
            by_params={
                "temperature": self._groups(arms, places, lambda arm: arm.temperature),
                "top_p": self._groups(arms, places, lambda arm: arm.top_p),
                "top_k": self._groups(arms, places, lambda arm: arm.top_k),
            },
            by_arm=sorted(groups, key=lambda pair: -np.nan_to_num(pair[1].score.value, nan=-1.0)),
            generation=Latency.of(self._generation),
            grading=replace(Latency.of(self._grading), total=self._grading_total),
            generation_tokens=Tokens(tokens["prompt"], tokens["completion"]),
            grading_tokens=Tokens(tokens["judge prompt"], tokens["judge completion"]),
        )

    def _groups(
        self, arms: Sequence[Arm], places: Sequence[NDArray[np.int_]], setting: Callable[[Arm], str | float]
    ) -> dict[str, Group]:
        members: dict[str | float, list[NDArray[np.int_]]] = {}
        for arm, of_arm in zip(arms, places, strict=False):  # of no arm there is an empty place
            members.setdefault(setting(arm), []).append(of_arm)
        return {
            f"{value:g}" if isinstance(value, float) else str(value): self._group(members[value]) for value in _sorted(members)
        }

    def _group(self, places: Sequence[NDArray[np.int_]]) -> Group:
        chosen = np.concatenate(places)
        scores, images = np.asarray(self._score)[chosen], np.asarray(self._image)[chosen]
        graded = ~np.isnan(scores)
        scores, images = scores[graded], images[graded]
        accepted = (scores >= self._threshold).astype(np.float64)
        return Group(
            num_candidates=len(chosen),
            num_graded=len(scores),
            num_accepted=int(accepted.sum()),
            num_best=int(np.asarray(self._best)[chosen].sum()),
            accepted=_share(accepted, images),
            score=_mean(scores, images, 100.0),
        )


def _share(hits: NDArray[np.float64], images: NDArray[np.int_]) -> Interval:
    """Share of (n,) zeros and ones; where all are equal there is no spread, and yet no certainty: Wilson's, of the pictures."""
    if len(hits) and hits.min() == hits.max():
        num = len(np.unique(images))
        return wilson(float(hits[0]) * num, num)
    return _mean(hits, images, 1.0)


def _mean(values: NDArray[np.float64], images: NDArray[np.int_], most: float) -> Interval:
    """Mean of (n,) values from 0 to `most`; a single picture says nothing of others."""
    if len(np.unique(images)) < 2:
        return Interval(float(values.mean()) if len(values) else nan, nan, nan)
    return mean_interval(values, images.tolist(), bounds=(0.0, most))


def _sorted(values: Iterable[str | float]) -> list[str | float]:
    """Numbers rising; names as they came."""
    given = list(values)
    return given if any(isinstance(value, str) for value in given) else sorted(given)
