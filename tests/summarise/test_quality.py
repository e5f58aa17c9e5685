"""Calibration and risk-coverage of methods, through `compare`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pools import make_pool

from tamis.summarise import compare, to_json
from tamis.summarise.quality import MOST_POINTS, calibrate


def lines(pools, *names):
    return {line.method: line for line in compare(pools, list(names)).methods}


def random_pools(num, scorer="gini", n=4, seed=0):
    """Right with the chance that the score says."""
    rng = np.random.default_rng(seed)
    chances = rng.random((num, n))
    right = rng.random((num, n)) < chances
    return [make_pool([0 if r else 1 for r in right[i]], scores={scorer: chances[i].tolist()}, id=f"p{i}") for i in range(num)]


def test_calibration_finds_back_chances_that_a_scale_has_hidden():
    straight, bent = random_pools(400, "max-prob"), []
    for pool in straight:
        values = [0.95 + 0.05 * value**3 for value in pool.scores["max-prob"]]
        bent.append(make_pool(pool.clusters, scores={"max-prob": values}, id=pool.problem.id))
    before, after = lines(straight, "max-prob")["max-prob"], lines(bent, "max-prob")["max-prob"]
    assert before.raw.ece < 0.05
    assert after.raw.ece > 0.3
    assert after.calibrated.ece < 0.06
    assert after.calibrated.brier == pytest.approx(before.calibrated.brier, abs=0.005)  # nearly the same order of samples
    assert after.calibrated.num == sum(b.num for b in after.calibrated.bins) == 1600
    assert after.raw.bins[-1].num == 1600
    assert after.raw.bins[-1].confidence > 0.9


def test_only_what_claims_to_be_a_probability_is_taken_at_its_word():
    found = lines(random_pools(30), "gini", "self-consistency")
    assert found["gini"].raw is None
    assert found["gini"].calibrated.num == 120
    assert found["self-consistency"].calibrated is None
    assert lines([make_pool([0, 1], scores={"max-prob": [7.0, 2.0]})], "max-prob")["max-prob"].raw is None


def test_samples_without_score_or_grade_are_not_calibrated():
    pools = random_pools(30)
    pools.append(make_pool([0, 0, 1], [True, None, False], scores={"gini": [0.5, 0.7, None]}, id="odd"))
    assert lines(pools, "gini")["gini"].calibrated.num == 121


def test_one_problem_cannot_be_calibrated_by_another():
    found = lines([make_pool([0, 1], scores={"max-prob": [0.5, 0.7]})], "max-prob")["max-prob"]
    assert found.calibrated is None
    assert found.raw.num == 2
    assert calibrate(np.array([np.nan]), np.array([1.0])) is None


def test_a_problems_own_labels_do_not_shape_its_calibration():
    alone = [make_pool([0, 0], scores={"gini": [0.2, 0.9]}, id="p0"), make_pool([1, 1], scores={"gini": [0.2, 0.9]}, id="p1")]
    # Two problems in two folds: each is called what the other is.
    assert lines(alone, "gini")["gini"].calibrated.brier == 1.0


def test_risk_falls_where_the_confidence_is_worth_something():
    pools = [
        make_pool([0, 0, 0, 1], scores={"gini": [0.9, 0.1, 0.1, 0.2]}, id="sure"),
        make_pool([1, 0, 0, 2], scores={"gini": [0.3, 0.1, 0.1, 0.2]}, id="less"),
        make_pool([1, 2, 0, 3], scores={"gini": [0.2, 0.1, 0.1, 0.1]}, id="unsure"),
        make_pool([-1, -1, -1, -1], scores={"gini": [9, 9, 9, 9]}, id="nothing"),
    ]
    found = lines(pools, "gini", "self-consistency", "baseline")
    assert found["baseline"].risk_coverage is None
    votes = found["self-consistency"].risk_coverage  # shares 3/4, 2/4, 1/4 (wrong), and no answer last
    assert votes.points == ((0.25, 0.0), (0.5, 0.0), (0.75, 1 / 3), (1.0, 0.5))
    assert votes.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert votes.e_aurc == pytest.approx(0.0)
    best = found["gini"].risk_coverage  # nothing to choose from: its own score, and so the surest; wrong
    assert [risk for _, risk in best.points] == pytest.approx([1.0, 0.5, 2 / 3, 3 / 4])
    assert (best.num, best.points[-1][1]) == (4, pytest.approx(1 - found["gini"].accuracy.value))


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    points = lines(random_pools(300), "gini")["gini"].risk_coverage.points
    assert len(points) == MOST_POINTS
    assert points[0][0] == pytest.approx(1 / 300)
    assert points[-1][0] == 1.0


def test_all_of_it_is_json():
    text = json.dumps(to_json(compare(random_pools(20, "max-prob"), ["max-prob"])), allow_nan=False)
    line = json.loads(text)["methods"][1]
    assert line["calibrated"]["num"] == line["raw"]["num"] == 80
    assert line["risk_coverage"]["points"][-1][0] == 1.0
