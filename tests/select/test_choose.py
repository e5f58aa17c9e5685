from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from tamis.errors import UsageError
from tamis.records import Pool, Problem
from tamis.score import SCORERS
from tamis.select import METHODS, best_by, choose, find_method, reject_below, votes


def sized_pools(n):
    """Clusters and scores of n samples, with many ties and some missing scores."""
    score = st.integers(0, 4).map(float) | st.floats(0, 5) | st.none()
    return st.tuples(st.lists(st.integers(-1, 3), min_size=n, max_size=n), st.lists(score, min_size=n, max_size=n))


POOLS = st.integers(1, 9).flatmap(sized_pools)

VOTES = {
    "borda 0.3": lambda c, s: votes.borda(c, s, 0.3),
    "borda valid": lambda c, s: votes.borda(c, s, 1.2, "valid"),
    "sum": votes.weighted_vote,
    "mean": lambda c, s: votes.weighted_vote(c, s, "mean"),
    "filtered": lambda c, s: votes.filtered_vote(c, s, 0.5),
}


def arrays(clusters, scores):
    return np.array([clusters]), np.array([[-np.inf if s is None else s for s in scores]])


# --- rules -----------------------------------------------------------------------------------------------------------


@given(POOLS, st.sampled_from(sorted(VOTES)), st.randoms())
def test_order_of_samples_matters_only_in_ties(pool, rule, random):
    """With distinct scores (ranks are then fixed) a vote takes the same sample in whatever order they come."""
    clusters = pool[0]
    scores = random.sample([i / 7 for i in range(20)], len(clusters))
    shuffled = random.sample(range(len(clusters)), len(clusters))
    taken = VOTES[rule](*arrays(clusters, scores)).index[0]
    again = VOTES[rule](*arrays([clusters[i] for i in shuffled], [scores[i] for i in shuffled])).index[0]
    assert (shuffled[again] if again >= 0 else -1) == taken


@given(POOLS, st.randoms())
def test_majority_is_the_largest_cluster_and_the_first_of_equals(pool, random):
    clusters = pool[0]
    taken = int(votes.majority(np.array([clusters])).index[0])
    voting = [c for c in clusters if c >= 0]
    if not voting:
        assert taken == -1
        return
    sizes = {c: voting.count(c) for c in voting}
    largest = [c for c in voting if sizes[c] == max(sizes.values())]
    assert taken == clusters.index(largest[0])
    if len(set(largest)) == 1:
        random.shuffle(clusters)
        assert clusters[int(votes.majority(np.array([clusters])).index[0])] == largest[0]


@given(POOLS)
def test_borda_of_power_0_is_the_majority_vote(pool):
    clusters, scores = arrays(*pool)
    by_rank, plain = votes.borda(clusters, scores, 0.0), votes.majority(clusters)
    assert np.array_equal(by_rank.totals, plain.totals, equal_nan=True)
    if by_rank.index[0] >= 0 and (plain.totals == np.nanmax(plain.totals)).sum() == 1:
        assert clusters[0, by_rank.index[0]] == clusters[0, plain.index[0]]


@given(POOLS)
def test_borda_of_a_large_power_is_best_of_n(pool):
    clusters, scores = arrays(*pool)
    taken, best = votes.borda(clusters, scores, 60.0).index[0], votes.best_of_n(clusters, scores).index[0]
    assert taken == (best if (clusters >= 0).any() else -1)


@given(POOLS, st.floats(0, 5))
def test_a_constant_score_gives_the_first_answer(pool, constant):
    clusters = pool[0]
    scores = [constant] * len(clusters)
    first = next((i for i, c in enumerate(clusters) if c >= 0), 0)
    assert votes.best_of_n(*arrays(clusters, scores)).index[0] == first
    assert votes.best_of_n(*arrays(clusters, [None] * len(clusters))).index[0] == first


@given(POOLS)
def test_best_of_n_takes_the_best_answer(pool):
    clusters, scores = arrays(*pool)
    taken = int(votes.best_of_n(clusters, scores).index[0])
    allowed = [i for i, c in enumerate(pool[0]) if c >= 0] or list(range(len(pool[0])))
    assert taken == min(allowed, key=lambda i: (-scores[0, i], i))


@given(st.lists(sized_pools(4), min_size=1, max_size=6), st.sampled_from(sorted(VOTES)))
def test_rows_do_not_see_each_other(pools, rule):
    clusters = np.concatenate([arrays(*pool)[0] for pool in pools])
    scores = np.concatenate([arrays(*pool)[1] for pool in pools])
    together = VOTES[rule](clusters, scores).index
    alone = [VOTES[rule](*arrays(*pool)).index[0] for pool in pools]
    assert together.tolist() == alone


def test_ties_of_votes():
    """Larger total, then the better best member, then first seen; totals compare exactly."""
    assert votes.weighted_vote(*arrays([0, 1, 0, 1], [1, 3, 2, 0])).index[0] == 1  # 3 = 3, best 3 > 2
    assert votes.weighted_vote(*arrays([1, 0, 1, 0], [1, 2, 2, 1])).index[0] == 2  # all alike: first seen, its best member
    assert votes.weighted_vote(*arrays([0, 1, 0, 1, 0, 1], [0.1, 0.3, 0.2, 0.2, 0.3, 0.1])).index[0] == 4  # 0.6 = 0.6 exactly


def test_an_unscored_sample_weighs_nothing():
    assert votes.weighted_vote(*arrays([0, 0, 0, 1], [None, None, 1.0, 2.0])).index[0] == 3
    assert votes.weighted_vote(*arrays([0, 1], [None, float("nan")])).index[0] == 0
    assert votes.filtered_vote(*arrays([0, 1, 1], [None, None, None]), 0.1).index[0] == 0


def test_filtered_vote_keeps_the_top_share_of_those_with_an_answer():
    clusters, scores = [-1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], [99, 1, 2, 3, 9, 8, 4, 5, 6, 7, 0]
    assert votes.filtered_vote(*arrays(clusters, scores), 0.1).totals[0, 1] == 9
    assert np.isnan(votes.filtered_vote(*arrays(clusters, scores), 0.1).totals[0, 0])
    assert votes.filtered_vote(*arrays(clusters, scores), 1.0).totals[0].tolist() == [28, 17]
    # 0.7 * 10 and its like are whole numbers here, so that the sample at the quantile stays.
    assert votes.filtered_vote(*arrays([0] * 11, list(range(11))), 0.3).totals[0, 0] == 7 + 8 + 9 + 10


def test_rejection_takes_the_first_that_passes():
    clusters, scores = arrays([-1, 0, 1, 2], [9, 1, 5, 8])
    outcome = votes.rejection(clusters, scores, 4)
    assert (outcome.index[0], outcome.accepted[0]) == (2, True)
    outcome = votes.rejection(clusters, scores, 100)
    assert (outcome.index[0], outcome.accepted[0]) == (3, False)


def test_power_of_the_paper():
    assert [votes.paper_power(n) for n in (1, 8, 16, 32, 64)] == [0.3, 0.3, 0.3, 1.2, 1.2]
    assert 0.3 < votes.paper_power(24) < 1.2


# --- choose ----------------------------------------------------------------------------------------------------------


def test_choice_has_answer_and_votes():
    pool = make_pool([1, 0, 0, -1], scores={"mean-self-certainty": [9, 1, 2, 20]})
    choice = choose(pool, "self-consistency")
    assert (choice.index, choice.answer, choice.votes) == (1, "A", {"B": 1.0, "A": 2.0})
    choice = choose(pool, "mean-self-certainty")
    assert (choice.problem_id, choice.selector, choice.index, choice.answer) == ("p", "mean-self-certainty", 0, "B")
    assert choice.votes == {}
    assert choose(pool, "baseline").index == 0


def test_nothing_to_choose_from():
    pool = make_pool([-1, -1], scores={"gini": [0.1, 0.2]})
    assert (choose(pool, "self-consistency").index, choose(pool, "self-consistency").answer) == (None, None)
    assert (choose(pool, "gini").index, choose(pool, "gini").answer) == (1, None)
    assert choose(make_pool([-1, -1], failed=[0, 1]), "baseline").index is None
    assert choose(Pool(Problem("empty"), ()), "self-consistency").index is None


def test_failed_samples_take_no_part():
    pool = make_pool([-1, 1, 0, 0], failed=[0], scores={"mean-self-certainty": [None, 3.0, 2.0, 1.0]})
    assert choose(pool, "baseline").index == 1
    borda = choose(pool, "borda-self-certainty")
    assert borda.votes == {"B": pytest.approx(3**0.3), "A": pytest.approx(2**0.3 + 1)}


def test_missing_scores_and_names():
    pool = make_pool([0, 1])
    with pytest.raises(UsageError, match=r"self-certainty.*do not have"):
        choose(pool, "mean-self-certainty")
    with pytest.raises(UsageError, match=r"no method 'magic'.*self-consistency"):
        find_method("magic")
    ungraded = Pool(pool.problem, pool.samples)
    with pytest.raises(ValueError, match="0 cluster numbers"):
        choose(ungraded, "self-consistency")


def test_rejection_as_a_method():
    pool = make_pool([0, 1], scores={"gini": [0.4, 0.6]})
    assert choose(pool, reject_below("gini", 0.5)).index == 1
    refused = choose(pool, reject_below("gini", 0.9))
    assert (refused.index, refused.accepted) == (1, False)


def test_registry():
    assert set(SCORERS) < set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.description
        assert method.scorer is None or method.scorer in SCORERS
    assert best_by("gini") == METHODS["gini"]


@given(POOLS, st.sampled_from(sorted(METHODS)))
def test_every_method_takes_an_answer_where_there_is_one(pool, name):
    clusters, scores = pool
    made = make_pool(clusters, scores=dict.fromkeys(SCORERS, scores))
    choice = choose(made, name)
    if any(c >= 0 for c in clusters) and name != "baseline":
        assert clusters[choice.index] >= 0
        assert choice.answer == made.grades[choice.index].answer
