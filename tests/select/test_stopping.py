"""Stopping rules: the vectors, the promise never to draw too much, and that replay and step by step agree."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from tamis.records import Choice
from tamis.score import SCORERS
from tamis.score.online import WARM_UP, uncut_weights, watch_after
from tamis.select import choose
from tamis.select.stopping import (
    AdaptiveConsistency,
    AdaptiveDirichlet,
    Consensus,
    EarlyStopping,
    StoppingRule,
    beta_probability,
    dirichlet_probability,
)

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "methods" / "adaptive.json").read_text(encoding="utf-8"))
RULES = {
    **{f"beta_{t}": AdaptiveConsistency(t) for t in (0.8, 0.95, 0.99)},
    **{f"dirichlet_{t}": AdaptiveDirichlet(t) for t in (0.8, 0.95, 0.99)},
    **{f"esc_w{w}": EarlyStopping(w) for w in (3, 5, 8)},
    "consensus": Consensus(0.95),
}


def test_probabilities():
    for case in VECTORS["beta"]:
        assert beta_probability(case["a"], case["b"]) == pytest.approx(case["prob"], rel=1e-12)
    for case in VECTORS["dirichlet"]:
        assert dirichlet_probability(tuple(case["counts"])) == pytest.approx(case["prob"], abs=1e-9)


def drawn_by(rule: StoppingRule, clusters: np.ndarray, weights: np.ndarray) -> int:
    """How many samples a loop draws that asks for what the rule may need, and no more."""
    num = 0
    while more := rule.further(clusters[:num], weights[:num], len(clusters)):
        num += more
    return num


@pytest.mark.parametrize(
    ("case", "name"),
    [pytest.param(case, name, id=f"{case['id']} {name}") for case in VECTORS["sequences"] for name in case["expected"]],
)
def test_sequences(case, name):
    rule, clusters, expected = RULES[name], np.array(case["clusters"]), case["expected"][name]
    outcome = rule(clusters[None], np.zeros((1, len(clusters))))
    assert outcome.num_paid[0] == expected["n"] == drawn_by(rule, clusters, np.zeros(len(clusters)))
    assert (clusters[outcome.index[0]] if outcome.index[0] >= 0 else None) == expected["winner"]


pools = st.integers(1, 24).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-1, 0, 0, 0, 0, 1, 2]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.5, 2.0, 40.0, -np.inf]), min_size=n, max_size=n),
    )
)


@settings(max_examples=200)
@given(st.lists(pools, min_size=1, max_size=4), st.sampled_from(sorted(RULES)))
def test_a_rule_stops_where_its_replay_stops_and_is_done_nowhere_before(drawn, name):
    rule, num = RULES[name], min(len(clusters) for clusters, _ in drawn)
    clusters = np.array([clusters[:num] for clusters, _ in drawn])
    weights = np.array([weights[:num] for _, weights in drawn])
    outcome = rule(clusters, weights)
    for row in range(len(drawn)):
        paid = drawn_by(rule, clusters[row], weights[row])
        assert outcome.num_paid[row] == paid
        assert all(rule.further(clusters[row, :n], weights[row, :n], num) for n in range(paid))
        assert outcome.index[row] < paid


@pytest.mark.parametrize("rule", [AdaptiveConsistency(0.8), AdaptiveDirichlet(0.8), EarlyStopping(3)])
def test_further_is_the_least_number_after_which_it_can_be_done(rule):
    """By trying all that may come."""
    none = np.empty(0)
    for start in itertools.product((-1, 0, 1), repeat=3):
        least = rule.further(np.array(start), none, 9)
        for more in range(1, min(least, 4) + 1):
            futures = itertools.product((-1, 0, 1, 2), repeat=more)
            done = any(rule.further(np.array([*start, *future]), none, 9) == 0 for future in futures)
            assert done == (more == least)


def test_without_any_answer_all_is_drawn_and_nothing_is_chosen():
    clusters = np.full((1, 20), -1)
    for name, rule in RULES.items():
        outcome = rule(clusters, np.full((1, 20), -np.inf))
        assert outcome.index[0] == -1
        assert outcome.num_paid[0] == {"esc_w3": 18, "esc_w8": 16}.get(name, 20)


def test_a_budget_below_one_window_is_drawn_whole():
    assert EarlyStopping(5).further(np.empty(0, int), np.empty(0), 3) == 3
    assert Consensus().further(np.empty(0, int), np.empty(0), 3) == 3


def test_consensus_weighs_only_what_votes():
    clusters = np.zeros(20, int)
    clusters[3] = 1
    weights = np.ones(20)
    weights[3] = -np.inf
    assert drawn_by(Consensus(), clusters, weights) == WARM_UP
    weights[3] = 1.0
    assert drawn_by(Consensus(), clusters, weights) == 20  # 19 of 20 is 0.95
    assert Consensus()(clusters[None], weights[None]).totals[0].tolist() == [19.0, 1.0]


def test_a_failed_sample_keeps_its_place_among_those_paid_for():
    """Windows of five: the second agrees, and would not if the failed one before it were left out."""
    pool = make_pool([0, 0, -1, 0, 0, 1, 1, 1, 1, 1, 0, 0], failed={2})
    choice = choose(pool, "esc")
    assert (choice.index, choice.answer, choice.num_paid) == (5, "B", 10)
    assert Choice.from_json(choice.to_json()) == choice
    nothing = choose(make_pool([-1] * 7, failed={0}), "adaptive-consistency")
    assert (nothing.index, nothing.num_paid) == (None, 7)


def test_the_bar_of_deepconf_online():
    """Sixteen samples of one token and confidence 1 to 16: the 90th percentile is 14.5; then what is full and below is out."""
    warm_up = [np.array([float(i)]) for i in range(1, 17)]
    watch = watch_after(warm_up, 1)
    assert (watch.window, watch.least) == (1, 14.5)
    later = [np.array([20.0, 14.4, 20.0]), np.array([20.0, 14.5])]
    weights = uncut_weights([*warm_up, *later], range(18), 1)
    assert np.flatnonzero(np.isfinite(weights)).tolist() == [14, 15, 17]
    assert weights[17] == 14.5
    # A window that never fills cuts nothing; of the warm-up the bar decides all the same.
    weights = uncut_weights([*warm_up, np.array([3.0])], range(17), 2)
    assert np.flatnonzero(np.isfinite(weights)).tolist() == [14, 15, 16]
    assert watch_after([]) is None
    assert np.isfinite(uncut_weights([np.array([1.0])], [16])).all()  # the whole warm-up failed: there is no bar
    assert "deepconf-online" in SCORERS
