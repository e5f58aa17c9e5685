"""The exact formulas against brute force, and what must hold of every estimate."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.summarise import calibration, intervals, metrics

POOLS = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 3), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.integers(0, 1), min_size=n, max_size=n),
    )
)


def subsets(n):
    for k in range(1, n + 1):
        yield k, [list(s) for s in combinations(range(n), k)]


@given(POOLS)
def test_best_of_n(pool):
    clusters, scores, correct = (np.array(part) for part in pool)
    ranks = metrics.answered_first(scores.astype(float), clusters)
    for k, drawn in subsets(len(scores)):
        brute = []
        for subset in drawn:
            best = max((clusters[i] >= 0, scores[i]) if clusters[i] >= 0 else (False, 0) for i in subset)
            ties = [i for i in subset if (clusters[i] >= 0) == best[0] and (not best[0] or scores[i] == best[1])]
            brute.append(np.mean(correct[ties]))
        assert metrics.best_of_n_at(ranks, correct.astype(float), [k])[0] == pytest.approx(np.mean(brute))


@given(POOLS)
def test_majority(pool):
    clusters, _, correct = (np.array(part) for part in pool)
    correct = np.where(clusters >= 0, correct, 0)
    for k, drawn in subsets(len(clusters)):
        brute = []
        for subset in drawn:
            voting = [int(c) for c in clusters[subset] if c >= 0]
            sizes = {c: voting.count(c) for c in voting}
            largest = [c for c in sizes if sizes[c] == max(sizes.values())]
            # The first drawn of the winning cluster decides; every member is as likely to be it.
            brute.append(np.mean([correct[[i for i in subset if clusters[i] == c]].mean() for c in largest]) if largest else 0)
        assert metrics.majority_at(clusters, correct.astype(float), [k])[0] == pytest.approx(np.mean(brute))


@given(POOLS)
def test_pass_at_k(pool):
    correct = np.array(pool[2])
    n, c = len(correct), int(correct.sum())
    values = []
    for k, drawn in subsets(n):
        values.append(metrics.pass_at_k(n, c, k))
        assert values[-1] == pytest.approx(np.mean([correct[s].any() for s in drawn]))
        assert metrics.g_pass_at_k(n, c, k, 0.5) == pytest.approx(np.mean([correct[s].mean() >= 0.5 for s in drawn]))
    assert values == sorted(values)
    assert values[0] == pytest.approx(c / n)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_pass_at_k_grows_with_k(counts):
    values = [metrics.pass_at_k(*counts, k) for k in range(1, counts[0] + 1)]
    assert all(a <= b + 1e-12 for a, b in pairwise(values))
    assert values[-1] == (counts[1] > 0)


def test_majority_of_many_samples_stays_exact():
    clusters = np.repeat([0, 1, -1], [20, 20, metrics.MAX_EXACT_MAJORITY - 40])
    found = metrics.majority_at(clusters, (clusters == 0).astype(float), [1, 500, metrics.MAX_EXACT_MAJORITY])
    assert found == pytest.approx([0.02, 0.5, 0.5])


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 2)])
def test_undefined_numbers_are_refused(n, c, k):
    with pytest.raises(ValueError, match="must lie in"):
        metrics.pass_at_k(n, c, k)
    with pytest.raises(ValueError, match="must lie in"):
        metrics.g_pass_at_k(n, c, k, 0.5)


# --- intervals and calibration ----------------------------------------------------------------------------------------


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_estimate(counts):
    interval = intervals.wilson(*counts)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high


@given(st.lists(st.floats(0, 1), max_size=30), st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_normal_intervals_contain_the_estimate(values, others):
    values = np.array(values)
    bounded = intervals.mean_interval(values, bounds=(0.0, 1.0))
    paired = intervals.paired_difference(values, np.array(others[: len(values)]))
    for interval in (bounded, paired):
        if len(values) == 0:
            assert np.isnan(interval.value)
        elif len(values) >= 2:
            assert interval.low <= interval.value <= interval.high
    if len(values) >= 2:
        assert bounded.low >= 0
        assert bounded.high <= 1


def test_nothing_and_one_thing():
    assert np.isnan(intervals.wilson(0, 0).value)
    assert np.isnan(intervals.standard_error(np.array([1.0])))
    assert np.isnan(intervals.bootstrap(np.array([]), np.mean).value)


def test_clusters_of_equal_values_widen_the_interval():
    values = np.repeat([0.0, 1.0, 1.0, 0.0], 5)
    labels = np.repeat(list("abcd"), 5).tolist()
    assert intervals.standard_error(values, labels) > 2 * intervals.standard_error(values)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(7).random(200)
    boot, normal = intervals.bootstrap(values, np.mean, seed=1), intervals.mean_interval(values)
    assert (boot.value, boot.low, boot.high) == pytest.approx((normal.value, normal.low, normal.high), abs=0.003)
    assert intervals.bootstrap(values, np.mean, seed=1) == boot
    assert intervals.bootstrap(values, np.mean, seed=2) != boot


def test_bootstrap_of_rows():
    rows = np.stack([np.linspace(0, 1, 40), np.linspace(0, 1, 40) > 0.5], axis=1)
    interval = intervals.bootstrap(rows, lambda r: calibration.auroc(r[:, 0], r[:, 1]), num_draws=200)
    assert (interval.low, interval.value, interval.high) == (1.0, 1.0, 1.0)


@given(POOLS)
def test_auroc(pool):
    scores, y = np.array(pool[1], dtype=float), np.array(pool[2], dtype=float)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[y == 1] for b in scores[y == 0]]
    if pairs:
        assert calibration.auroc(scores, y) == pytest.approx(np.mean(pairs))
        assert calibration.e_aurc(scores, y) >= -1e-12
    else:
        assert np.isnan(calibration.auroc(scores, y))


def test_auroc_within_leaves_out_problems_of_one_class():
    scores, y = np.array([1.0, 2.0, 9.0, 8.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert calibration.auroc_within(scores, y, np.array([0, 0, 1, 1])) == 1.0
    assert np.isnan(calibration.auroc_within(scores[2:], y[2:], np.array([1, 1])))
    assert np.isnan(calibration.auroc_within(np.empty(0), np.empty(0), np.empty(0, dtype=int)))
    assert calibration.auroc(scores, y) == 1.0
    assert calibration.auroc(np.array([-np.inf, 0.0]), np.array([0.0, 1.0])) == 1.0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3), st.booleans()), max_size=30))
def test_auroc_within_is_the_mean_of_aurocs(rows):
    problem, scores = np.array([r[0] for r in rows], dtype=int), np.array([float(r[1]) for r in rows])
    scores[scores < 0], y = -np.inf, np.array([float(r[2]) for r in rows])
    single = [calibration.auroc(scores[problem == i], y[problem == i]) for i in range(5)]
    expected = np.mean(known) if (known := [value for value in single if not np.isnan(value)]) else np.nan
    assert calibration.auroc_within(scores, y, problem) == pytest.approx(expected, nan_ok=True)
