from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from tamis.errors import UsageError
from tamis.records import Pool, Problem
from tamis.select import METHODS, find_method, reject_below
from tamis.summarise import Comparer, compare, health_warnings, to_json
from tamis.summarise.collect import Collected
from tamis.summarise.curves import curve_sizes, draw_subsets, expected
from tamis.summarise.results import Health


def lines(comparison):
    return {line.method: line for line in comparison.methods}


POOLS = [
    make_pool([0, 1, 1, 0], scores={"gini": [0.1, 0.9, 0.2, 0.3]}, id="a", tokens=[10, 20, 30, 40], metadata={"level": 1}),
    make_pool([0, 0, 0, 1], scores={"gini": [0.8, 0.2, 0.3, 0.4]}, id="b", metadata={"level": 2}),
    make_pool([-1, -1, -1, -1], scores={"gini": [0.8, 0.2, 0.3, 0.4]}, id="c", metadata={"level": 2}),
]
NAMES = ["baseline", "self-consistency", "gini"]


def test_the_lines():
    result = compare(POOLS, NAMES)
    assert [line.method for line in result.methods] == ["one sample", *NAMES, "oracle"]
    assert (result.num_problems, result.samples_per_problem) == (3, 4)
    found = lines(result)
    one = (2 / 4 + 3 / 4 + 0) / 3
    assert found["one sample"].accuracy.value == pytest.approx(one)
    assert found["one sample"].difference is None
    assert found["baseline"].accuracy.value == pytest.approx(2 / 3)  # a and b begin with A
    assert found["self-consistency"].accuracy.value == pytest.approx(2 / 3)  # a is a tie: first seen
    assert found["gini"].accuracy.value == pytest.approx(1 / 3)  # a takes B
    assert found["oracle"].accuracy.value == pytest.approx(2 / 3)
    for name in [*NAMES, "oracle"]:
        assert found[name].difference.value == pytest.approx(found[name].accuracy.value - one)
        assert found[name].accuracy.low <= found[name].accuracy.value <= found[name].accuracy.high
    assert found["self-consistency"].num_abstained == 1
    assert found["gini"].num_abstained == 0
    assert found["baseline"].tokens_per_problem == pytest.approx(10)
    assert found["one sample"].tokens_per_problem == pytest.approx((25 + 10 + 10) / 3)
    assert found["gini"].tokens_per_problem == found["oracle"].tokens_per_problem == pytest.approx((100 + 40 + 40) / 3)
    assert result.left_out == ()


def test_the_curves():
    result = compare(POOLS, NAMES)
    found = lines(result)
    one = (2 / 4 + 3 / 4 + 0) / 3
    for line in result.methods:
        assert [point.num_samples for point in line.curve] == [1, 2, 4]
        assert line.curve[0].accuracy.value == pytest.approx(one)
        assert line.curve[0].tokens == pytest.approx((25 + 10 + 10) / 3)
    assert [p.tokens for p in found["gini"].curve] == pytest.approx([15, 30, 60])
    assert [p.tokens for p in found["baseline"].curve] == pytest.approx([15, 15, 15])
    assert [p.accuracy.value for p in found["one sample"].curve] == pytest.approx([one] * 3)
    assert [p.accuracy.value for p in result.pass_at_k] == pytest.approx([one, (5 / 6 + 1) / 3, 2 / 3])
    assert result.pass_at_k == found["oracle"].curve
    assert found["gini"].curve[-1].accuracy.value == pytest.approx(1 / 3)
    assert found["self-consistency"].curve[-1].accuracy.value == pytest.approx(1.5 / 3)  # ties are split


def test_stopping_early_is_paid_as_far_as_it_went():
    pools = [make_pool([0] * 16, id=f"p{i}") for i in range(3)]  # four equal answers are enough
    (line,) = [m for m in compare(pools, ["adaptive-consistency"]).methods if m.method == "adaptive-consistency"]
    assert [p.num_samples for p in line.curve] == [1, 2, 4, 8, 16]
    assert [p.tokens for p in line.curve] == [10, 20, 40, 40, 40]
    assert line.tokens_per_problem == 40


def test_score_quality():
    found = lines(compare(POOLS, ["gini", "self-consistency"]))
    within = np.mean([1 / 4, 1 / 3])  # right against wrong: a {.1,.3} x {.9,.2}, b {.8,.2,.3} x {.4}
    assert found["gini"].auroc_within == pytest.approx(within)
    assert 0 < found["gini"].auroc < 1
    assert isnan(found["self-consistency"].auroc)


def test_what_is_left_out_is_said():
    no_reference = make_pool([0, 1], id="x", reference=None)
    all_failed = make_pool([-1, -1], id="y", failed=[0, 1])
    ungraded = make_pool([0, 0], [None, None], id="z")
    unknown_choice = make_pool([0, 0, 1], [None, None, False], id="u", scores={"gini": [0.1, 0.2, 0.9]})
    no_scores = make_pool([0, 0, 1], id="v")
    result = compare(
        [no_reference, all_failed, ungraded, unknown_choice, no_scores, *POOLS], ["self-consistency", "gini", "margin"]
    )
    assert result.num_problems == 5
    assert set(result.left_out) == {
        "1 problem without a reference answer",
        "1 problem without a sample that did not fail",
        "1 problem of which no sample could be graded",
        "self-consistency: 1 problem whose choice could not be graded",
        "gini: 1 problem without the score gini",
        "1 problem with ungraded samples: not in the curves, nor in pass@k",
        "curves end at 3 samples, the fewest that a problem has (the most: 4): if a stopping rule chose the numbers, "
        "one sample, pass@k and curves look better than they are",
        "methods whose scores no sample has: margin",
        "not recommended, for too few problems have their scores: gini",
    }
    found = lines(result)
    assert "margin" not in found
    assert found["self-consistency"].num_problems == 4
    assert found["gini"].num_problems == 4
    assert found["oracle"].num_problems == 4  # of u nobody knows whether an answer is right
    assert [p.num_samples for p in found["gini"].curve] == [1, 2, 3]
    assert result.health == Health(num_samples=24, num_truncated=0, num_unparseable=4, num_ungraded=4, num_failed=2)


def test_no_answer_is_wrong_and_no_score_for_it_is_no_excuse():
    pools = [make_pool([0, 0], id="a", scores={"gini": [1, 2]}), make_pool([-1, -1], id="b", scores={"gini": [None, None]})]
    line = lines(compare(pools, ["gini"]))["gini"]
    assert (line.num_problems, line.accuracy.value) == (2, 0.5)


def test_failed_samples_are_no_samples():
    pools = [make_pool([-1, 0, 0, 1], id="a", failed=[0])]
    result = compare(pools, ["self-consistency"])
    assert result.samples_per_problem == 3
    assert lines(result)["one sample"].accuracy.value == pytest.approx(2 / 3)


def test_nothing_at_all():
    result = compare([], ["self-consistency"])
    assert result.num_problems == 0
    assert all(isnan(line.accuracy.value) for line in result.methods)
    assert to_json(result)["methods"][0]["accuracy"] == {"value": None, "low": None, "high": None}


def test_ungraded_pool_without_grades_or_clusters():
    pool = make_pool([0, 1])
    result = compare([replace(pool, grades=(), clusters=()), Pool(Problem("q", answer="1"), ())], ["self-consistency"])
    assert result.num_problems == 0
    assert len(result.left_out) == 2


def test_pools_are_read_once_and_methods_may_be_made():
    result = compare(iter(POOLS), [reject_below("gini", 0.25), "gini"])
    assert [line.method for line in result.methods] == ["one sample", "gini>=0.25", "gini", "oracle"]
    with pytest.raises(UsageError, match="no method"):
        compare(POOLS, ["nonsense"])


def test_a_comparer_can_be_asked_more_than_once():
    comparer = Comparer(NAMES)
    for pool in POOLS[:2]:
        comparer.add(pool)
    assert comparer.result().num_problems == 2
    comparer.add(POOLS[2])
    assert to_json(comparer.result()) == to_json(compare(POOLS, NAMES))


def test_all_methods_are_the_default():
    scores = {method.scorer: [1.0, 2.0, 3.0, 4.0] for method in METHODS.values() if method.scorer}
    result = compare([replace(pool, scores={k: tuple(v) for k, v in scores.items()}) for pool in POOLS])
    assert [line.method for line in result.methods] == ["one sample", *METHODS, "oracle"]


def test_groups():
    result = compare(POOLS, NAMES, group_by=["level", "subject"])
    level = {(g.value, g.method): g for g in result.groups if g.field == "level"}
    assert level["1", "one sample"].accuracy.value == pytest.approx(0.5)
    assert level["2", "self-consistency"].accuracy.value == pytest.approx(0.5)
    assert level["2", "oracle"].num_problems == 2
    assert {g.field for g in result.groups} == {"level"}  # nothing here has a subject
    without = replace(POOLS[0], problem=replace(POOLS[0].problem, metadata={}))
    assert {g.value for g in compare([*POOLS, without], NAMES, group_by=["level"]).groups} == {"", "1", "2"}


def test_json_is_json():
    text = json.dumps(to_json(compare(POOLS, NAMES, group_by=["level"])), allow_nan=False)
    assert json.loads(text)["methods"][2]["method"] == "self-consistency"
    assert json.loads(text)["methods"][2]["auroc"] is None


def test_health_warnings():
    assert health_warnings(Health(100, 2, 50, 0, 0)) == []
    assert health_warnings(Health(0, 0, 0, 0, 0)) == []
    warning, failed = health_warnings(Health(100, 3, 0, 0, 1))
    assert "3.0% of the samples were cut" in warning
    assert "1 of 100 samples failed" in failed
    assert health_warnings(Health(9, 0, 0, 0, 0, {"seed": 4})) == [
        "4 of 9 samples were drawn without seed, which the server refuses"
    ]


def test_what_samples_were_drawn_without_is_counted():
    pool = make_pool([0, 0, 1])
    samples = tuple(replace(s, unsent=("seed", "top_p")[: s.index]) for s in pool.samples)
    assert compare([replace(pool, samples=samples)], NAMES).health.unsent == {"seed": 2, "top_p": 1}


# --- curves ----------------------------------------------------------------------------------------------------------


def test_curve_sizes():
    assert [curve_sizes(n) for n in (0, 1, 2, 6, 8)] == [[], [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


@settings(max_examples=40)
@given(
    st.lists(st.integers(-1, 3), min_size=2, max_size=6),
    st.randoms(),
    st.sampled_from(["borda-self-certainty", "weighted-deepconf", "filtered-deepconf", "mean-self-certainty"]),
)
def test_curves_equal_brute_force(clusters, random, name):
    method = find_method(name)
    # With distinct scores the order of the samples decides nothing; the majority vote, where it does, is in test_exact.
    distinct = random.sample([i / 7 for i in range(20)], len(clusters))
    pool = make_pool(clusters, scores={method.scorer: distinct} if method.scorer else None)
    collected = Collected([method])
    collected.add(pool)
    problem = collected.problems[0]
    for k in range(1, len(clusters) + 1):
        drawn = np.array(list(combinations(range(len(clusters)), k)))
        taken = method.rule(np.array(clusters)[drawn], np.array(distinct)[drawn]).index
        brute = [problem.correct[row[i]] if i >= 0 else 0.0 for row, i in zip(drawn, taken, strict=True)]
        (found,) = expected([problem], [method], [k], seed=0)
        assert found.accuracy[0, 0] == pytest.approx(np.mean(brute))
        assert found.num_paid[0, 0] == k


def test_problems_of_unlike_size_or_without_the_score_keep_their_rows():
    scores = {"gini": [0.1, 0.9, 0.2, 0.3], "deepconf": [1.0, 2.0, 3.0, 4.0]}
    pools = [
        make_pool([0, 1, 1, 0], scores=scores, id="a"),
        make_pool([0, 1], id="b"),
        make_pool([1, 0, 0, 1], scores=scores, id="c"),
    ]
    methods = [find_method(name) for name in ("gini", "weighted-deepconf", "baseline", "self-consistency")]
    together, alone = Collected(methods), [Collected(methods) for _ in pools]
    for pool, single in zip(pools, alone, strict=True):
        together.add(pool)
        single.add(pool)
    tables = expected(together.problems, [*methods, None], [1, 2], seed=0)
    for row, single in enumerate(alone):
        for table, own in zip(tables, expected(single.problems, [*methods, None], [1, 2], seed=0), strict=True):
            assert table.accuracy[row].tolist() == pytest.approx(own.accuracy[0].tolist(), nan_ok=True)
    assert (
        np.isnan(tables[0].accuracy).all(axis=1).tolist()
        == np.isnan(tables[1].num_paid).all(axis=1).tolist()
        == [False, True, False]
    )
    assert tables[2].num_paid.tolist() == [[1, 1]] * 3
    assert tables[4].num_paid.tolist() == [[1, 2]] * 3


def test_subsets():
    assert draw_subsets(4, 2, 0, "p").tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    drawn = draw_subsets(32, 8, 0, "p")
    assert drawn.shape == (200, 8)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert (drawn == draw_subsets(32, 8, 0, "p")).all()
    assert (drawn != draw_subsets(32, 8, 1, "p")).any()
    assert (drawn != draw_subsets(32, 8, 0, "q")).any()
    assert drawn.mean() == pytest.approx(15.5, abs=1.0)


def test_resampled_curve_does_not_depend_on_the_order_of_problems():
    rng = np.random.default_rng(0)
    pools = [
        make_pool(rng.integers(-1, 3, 16).tolist(), scores={"deepconf": rng.random(16).tolist()}, id=f"p{i}") for i in range(5)
    ]
    forwards = lines(compare(pools, ["weighted-deepconf"], seed=3))["weighted-deepconf"].curve
    backwards = lines(compare(pools[::-1], ["weighted-deepconf"], seed=3))["weighted-deepconf"].curve
    for a, b in zip(forwards, backwards, strict=True):
        assert a.accuracy.value == pytest.approx(b.accuracy.value)


def test_a_pool_that_a_stopping_rule_has_ended_stands_for_its_certain_samples():
    """A run of agreeing samples is what ended it: the mean over all of them is no estimate."""
    pool = make_pool([1, 0, 0, 0, 0, 0])
    comparer = Comparer(["baseline", "self-consistency"], num_certain=2)
    comparer.add(pool)
    lines = {line.method: line for line in comparer.result().methods}
    assert lines["one sample"].accuracy.value == 0.5
    assert lines["self-consistency"].accuracy.value == 1.0  # the choice is of all samples
    assert lines["self-consistency"].tokens_per_problem == lines["oracle"].tokens_per_problem == 60
    assert [point.num_samples for point in comparer.result().pass_at_k] == [1, 2]


def test_a_problem_without_answers_brings_no_method_to_the_table():
    pools = [make_pool([0, 1], id="p"), make_pool([-1, -1], scores={"gini": [None, None]}, id="q")]
    result = compare(pools, ["self-consistency", "gini"])
    assert [line.method for line in result.methods] == ["one sample", "self-consistency", "oracle"]
    assert "methods whose scores no sample has: gini" in result.left_out
