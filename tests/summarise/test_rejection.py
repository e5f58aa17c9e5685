"""The numbers of rejection sampling, against ones computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from tamis.config import Arm
from tamis.records import Failure, Problem, Sample, Sampling
from tamis.score.grading import Candidate, Judgement, Rejected
from tamis.summarise.intervals import wilson
from tamis.summarise.latency import Latency
from tamis.summarise.rejection import Tally

COLD, WARM = Arm("p1", 0.3, 0.9, 20), Arm("p2", 1.2, 0.9, 20)
_keys = count()


def candidate(arm: Arm, score: float | None, *, seconds: float = 1.0, error: str = "", judged: bool = True) -> Candidate:
    failure = Failure("engine", error) if error else None
    reason = "error" if error else "stop"
    sample = Sample(f"{next(_keys):016x}", "x", 0, 0, Sampling(), ("text",), reason, 10, 5, seconds, failure)
    judgement = Judgement(score, None if score is not None else "judge_failed", "") if judged and not error else None
    return Candidate(arm, "what?", sample, judgement, 0.0 if error else 2 * seconds, (0, 0) if error else (100, 3))


def image(name: str, *candidates: Candidate, threshold: float = 80) -> Rejected:
    graded = [c for c in candidates if c.judgement and c.judgement.score is not None]
    best = max(graded, key=lambda c: c.judgement.score, default=None)
    return Rejected(Problem(name), candidates, best, best is not None and best.judgement.score >= threshold)


@pytest.fixture
def summary():
    tally = Tally(80)
    tally.add(image("a", candidate(COLD, 90, seconds=1), candidate(WARM, 10, seconds=3)))
    tally.add(image("b", candidate(COLD, 80, seconds=2), candidate(WARM, None)))
    tally.add(image("c", candidate(COLD, 70), candidate(WARM, 20)))
    tally.add(image("d", candidate(COLD, None), candidate(WARM, None, error="gone")))
    tally.add(image("e", candidate(COLD, None, error="gone")))
    return tally.summary()


def test_images_are_counted_once_and_what_is_ungraded_is_not_low(summary):
    assert (summary.num_images, summary.num_high, summary.num_low) == (5, 2, 1)
    assert (summary.num_ungraded, summary.num_failed) == (1, 1)
    assert summary.high == wilson(2, 3)


def test_candidates_are_counted_by_what_became_of_them(summary):
    assert (summary.num_candidates, summary.num_candidates_failed, summary.num_candidates_ungraded) == (9, 2, 2)
    assert summary.reasons == {"judge_failed": 2}
    assert (summary.generation_tokens.prompt, summary.generation_tokens.completion) == (70, 35)
    assert (summary.grading_tokens.prompt, summary.grading_tokens.completion) == (700, 21)


def test_shares_and_means_are_of_the_graded(summary):
    cold, warm = summary.by_prompt["p1"], summary.by_prompt["p2"]
    assert (cold.num_candidates, cold.num_graded, cold.num_accepted, cold.num_best) == (5, 3, 2, 3)
    assert cold.accepted.value == pytest.approx(2 / 3)
    assert cold.score.value == pytest.approx(80)
    half = 1.959963984540054 * 10 / math.sqrt(3)  # the standard deviation of 90, 80, 70 is 10
    assert (cold.score.low, cold.score.high) == (pytest.approx(80 - half), pytest.approx(80 + half))
    assert (warm.num_graded, warm.num_accepted, warm.score.value) == (2, 0, pytest.approx(15))
    assert warm.accepted == wilson(0, 2)  # none of two is no certainty
    assert summary.by_params["temperature"] == {"0.3": cold, "1.2": warm}
    assert list(summary.by_params["top_k"]) == ["20"]
    assert [arm for arm, _ in summary.by_arm] == [COLD, WARM]


def test_candidates_of_one_image_are_not_taken_for_independent():
    alike, apart = Tally(80), Tally(80)
    for number in range(20):
        scores = [90.0, 70.0] * 10
        alike.add(image("x", *(candidate(COLD, scores[number]) for _ in range(4))))
        apart.add(image("x", candidate(COLD, scores[number])))
    wide, few = alike.summary().by_prompt["p1"], apart.summary().by_prompt["p1"]
    assert wide.num_graded == 4 * few.num_graded
    assert wide.score.high - wide.score.low == pytest.approx(few.score.high - few.score.low, rel=0.05)


def test_one_image_has_no_interval():
    tally = Tally(80)
    tally.add(image("x", candidate(COLD, 90), candidate(COLD, 10)))
    group = tally.summary().by_prompt["p1"]
    assert group.accepted.value == 0.5
    assert math.isnan(group.accepted.low)
    assert math.isnan(group.score.high)


def test_calls_that_candidates_share_count_once():
    tally = Tally(80)
    judged = [replace(candidate(COLD, 90, seconds=2), num_sharing=4) for _ in range(4)]
    unasked = replace(candidate(COLD, None), grading_seconds=0.0)  # it said nothing, and so the judge was not asked
    tally.add(image("x", *judged, unasked))
    grading = tally.summary().grading
    assert (grading.num, grading.p50, grading.total) == (4, 4.0, 4.0)


def test_percentiles(summary):
    assert (summary.generation.num, summary.generation.total) == (7, 10.0)
    assert summary.generation.p50 == 1.0
    values = list(range(1, 101))
    latency = Latency.of(values)
    assert (latency.mean, latency.p50) == (50.5, 50.5)
    assert latency.p99 == pytest.approx(99.01)
    assert [latency.p90, latency.p95] == pytest.approx(np.percentile(values, [90, 95]).tolist())
    assert math.isnan(Latency.of([]).p99)


def test_nothing_at_all():
    summary = Tally(80).summary()
    assert summary.num_images == 0
    assert math.isnan(summary.high.value)
    assert summary.by_params == {"temperature": {}, "top_p": {}, "top_k": {}}
