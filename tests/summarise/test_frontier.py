from __future__ import annotations

import json
from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from tamis.summarise import advice, compare, to_json
from tamis.summarise.results import Comparison, Health

NAMES = ["gini", "margin", "self-consistency", "baseline", "weighted-deepconf"]


def pools_of(num, *, gini=0.0, margin=0.0, seed=0, n=8):
    """Pools whose scores tell right from wrong so well; 0: not at all."""
    rng = np.random.default_rng(seed)
    pools = []
    for i in range(num):
        right = rng.random(n) < rng.random()
        noise = rng.normal(size=(3, n))
        scores = {
            "gini": noise[0] + gini * right,
            "margin": noise[1] + margin * right,
            "deepconf": np.abs(noise[2]),
        }
        clusters = np.where(right, 0, rng.integers(1, 4, n)).tolist()
        tokens = rng.integers(10, 40, n).tolist()
        pools.append(make_pool(clusters, scores={k: v.tolist() for k, v in scores.items()}, id=f"p{i}", tokens=tokens))
    return pools


def frontier_of(pools, names=NAMES, **fields):
    return compare(pools, names, **fields).frontier


def test_a_score_that_tells_is_found_and_sure():
    result = compare(pools_of(200, gini=9.0), NAMES)
    found, oracle = result.frontier, result.pass_at_k
    assert [b.best.num_samples for b in found.budgets] == [1, 2, 4, 8]
    assert [b.best.method for b in found.budgets] == ["one sample", "gini", "gini", "gini"]
    assert [b.best.accuracy.value for b in found.budgets] == pytest.approx([p.accuracy.value for p in oracle])
    assert all(b.share_best == 1.0 for b in found.budgets[1:])
    assert found.best == found.budgets[-1]
    assert found.best.not_apart == ()
    assert found.best.difference.low > 0.2
    assert found.num_methods == 5  # one sample, and all but the baseline, which is one sample under another name
    assert (found.enough, found.points[-1]) == (found.best.best, found.best.best)
    (line, by_budget) = advice(result)
    assert line.startswith("with 8 samples (")
    assert "gini, " in line
    assert "best of 5 in 100 % of 2,000 resamples" in line
    assert "nothing cheaper does as well" in line
    assert by_budget.startswith("best by samples a problem: 2: gini ")


def test_noise_is_called_noise():
    rng = np.random.default_rng(0)
    pools = [
        make_pool([0, 1] * 2, scores={"gini": rng.random(4).tolist(), "margin": rng.random(4).tolist()}, id=f"p{i}")
        for i in range(60)
    ]
    result = compare(pools, ["gini", "margin"])
    line = advice(result)[0]
    assert "not measurably better than one sample" in line or "no method is ahead of one sample" in line
    assert result.frontier.enough.method == "one sample"
    assert {"gini", "margin", "one sample"} <= {result.frontier.best.best.method, *result.frontier.best.not_apart}


def test_few_problems_claim_nothing():
    line = advice(compare(pools_of(12, gini=9.0), NAMES))[0]
    assert "too few problems (12) to tell methods apart" in line
    assert "not measurably" not in line
    assert len(advice(compare(pools_of(1, gini=9.0), NAMES))) == 2


def test_nothing_to_choose_from_has_no_advice():
    assert advice(compare([], NAMES)) == []
    assert compare([make_pool([0]), make_pool([1], id="q")], ["self-consistency"]).frontier is None
    assert advice(Comparison(0, 0, (), (), Health(0, 0, 0, 0, 0))) == []
    assert advice(compare([make_pool([0, 0], [None, None])], ["self-consistency"])) == []


def test_equal_methods_share_nothing_and_the_cheaper_or_first_named_is_taken():
    pools = [make_pool([0, 0, 0, 0], id=f"p{i}") for i in range(40)] + [make_pool([1, 1, 1, 1], id=f"q{i}") for i in range(10)]
    found = frontier_of(pools, ["self-consistency"])
    assert [b.best.method for b in found.budgets] == ["one sample"] * 3
    assert [b.share_best for b in found.budgets] == [1.0] * 3
    assert found.best.best.num_samples == 1
    assert [p.num_samples for p in found.points] == [1]
    assert (
        "no method is ahead of one sample (0.800) on 50 problems: draw one" in advice(compare(pools, ["self-consistency"]))[0]
    )


def test_cheaper_and_as_good_is_named():
    rights = [8] * 40 + [0] * 10 + [5] * 6 + [1] * 2  # of 8; only the last two need more than four samples
    pools = [
        make_pool([0] * k + [1] * (8 - k), scores={"gini": [1.0] * k + [0.0] * (8 - k)}, id=f"p{i}")
        for i, k in enumerate(rights)
    ]
    result = compare(pools, ["gini"])
    assert result.frontier.best.best.num_samples == 8
    assert 1 < result.frontier.enough.num_samples < 8
    assert "not measurably worse and cheaper: gini with " in advice(result)[0]
    mixed = [make_pool([0] * 6 + [1] * 2, id=f"p{i}") for i in range(80)]
    assert frontier_of(mixed, ["self-consistency"]).enough.num_samples == 8  # the same difference on every problem is measured


@settings(max_examples=12)
@given(st.integers(0, 1000), st.randoms())
def test_the_order_of_problems_and_methods_changes_nothing(seed, random):
    pools, names = pools_of(9, gini=1.0, seed=seed, n=4), list(NAMES)
    before = frontier_of(pools, names)
    random.shuffle(pools)
    random.shuffle(names)
    after = frontier_of(pools, names)
    assert [b.best.method for b in after.budgets] == [b.best.method for b in before.budgets]
    assert [(b.share_best, b.not_apart) for b in after.budgets] == [(b.share_best, b.not_apart) for b in before.budgets]
    assert [(p.method, p.num_samples) for p in after.points] == [(p.method, p.num_samples) for p in before.points]
    assert (after.enough.method, after.enough.num_samples) == (before.enough.method, before.enough.num_samples)


def test_the_share_is_that_of_a_plain_bootstrap():
    pools = pools_of(30, gini=1.0, margin=1.2, n=2)
    found = frontier_of(pools, ["gini", "margin"])
    other = "margin" if found.best.best.method == "gini" else "gini"
    right = {}
    for name in ("gini", "margin"):
        taken = [max(range(2), key=lambda i, p=pool, n=name: p.scores[n][i]) for pool in pools]
        right[name] = np.array([float(bool(pool.grades[i].correct)) for i, pool in zip(taken, pools, strict=True)])
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 30, (4000, 30))
    one = np.array([np.mean([bool(g.correct) for g in pool.grades]) for pool in pools])
    best = right[found.best.best.method][drawn].mean(axis=1)
    rivals = np.maximum(right[other][drawn].mean(axis=1), one[drawn].mean(axis=1))
    assert found.best.share_best == pytest.approx((best >= rivals - 1e-12).mean(), abs=0.04)


def test_points_rise_in_cost_and_accuracy():
    points = frontier_of(pools_of(50, gini=1.0, margin=1.0)).points
    assert [p.tokens for p in points] == sorted({p.tokens for p in points})
    assert [p.accuracy.value for p in points] == sorted({p.accuracy.value for p in points})
    assert (points[0].method, points[0].num_samples) == ("one sample", 1)


def test_without_tokens_samples_are_the_cost():
    pools = [
        replace(pool, samples=tuple(replace(s, completion_tokens=0) for s in pool.samples)) for pool in pools_of(40, gini=3.0)
    ]
    result = compare(pools, ["gini"])
    assert isnan(result.frontier.points[-1].tokens)
    assert [p.num_samples for p in result.frontier.points] == [1, 2, 4, 8]
    assert "tokens" not in advice(result)[0]
    assert json.loads(json.dumps(to_json(result), allow_nan=False))["frontier"]["points"][0]["tokens"] is None


def test_a_method_that_knows_few_problems_takes_no_part_and_a_missing_problem_falls_out():
    pools = pools_of(100, gini=1.0, margin=9.0)
    without = [replace(p, scores={k: v for k, v in p.scores.items() if k != "margin"}) for p in pools[:20]]
    result = compare([*without, *pools[20:]], ["gini", "margin"])
    assert result.frontier.left_out == ("margin",)
    assert (result.frontier.num_problems, result.frontier.num_methods) == (100, 2)
    assert "not recommended, for too few problems have their scores: margin" in result.left_out
    one_lost = frontier_of([*without[:1], *pools[1:]], ["gini", "margin"])
    assert (one_lost.left_out, one_lost.num_problems, one_lost.best.best.method) == ((), 99, "margin")
