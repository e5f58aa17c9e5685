from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.records import STATISTICS, Failure, Pool, Problem, Sample, Sampling, TokenStats
from tamis.score import FREE, ScoreSettings, score_pool, sequence, tokens, with_scores
from tamis.score.steps import zscores

VOCAB = 50


def make_stats(logits, starts=None):
    """Statistics of tokens from rows of logits (T, V); the sampled token is the first one."""
    logits = np.asarray(logits, dtype=float).reshape(-1, VOCAB)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    p, top = np.exp(logp), -np.sort(-logp, axis=1)
    columns = {
        "logp": logp[:, 0],
        "rank": (logp > logp[:, :1]).sum(axis=1) + 1,
        "entropy": -(p * logp).sum(axis=1),
        "mean_logp": logp.mean(axis=1),
        "sum_p2": (p**2).sum(axis=1),
        "lp1": top[:, 0],
        "lp2": top[:, 1],
        "sum_top5": top[:, :5].sum(axis=1),
        "sum_top20": top[:, :20].sum(axis=1),
    }
    values = np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)
    count = len(values)
    starts = np.arange(count) if starts is None else np.asarray(starts)
    return TokenStats(values, np.zeros(count, np.int32), starts.astype(np.int32), VOCAB)


def peaked(*heights):
    """One token a height: the first logit stands that high above the rest."""
    return make_stats([[height] + [0.0] * (VOCAB - 1) for height in heights])


def make_sample(i, stats, text="abc \\boxed{1}", **changes):
    return Sample(
        f"k{i}", "p", i, i, Sampling(), (text,), completion_tokens=0 if stats is None else len(stats), stats=stats, **changes
    )


def make_pool(*stats):
    return Pool(Problem("p"), tuple(make_sample(i, s) for i, s in enumerate(stats)))


@pytest.mark.parametrize("name", [name for name in FREE if name != "deepconf-online"])  # undefined below the bar
def test_higher_is_more_confident(name):
    """A model that is sharper at every token, and right, scores higher by every scorer."""
    table, _ = score_pool(make_pool(peaked(1, 2, 1), peaked(3, 4, 3), peaked(6, 7, 6)), [name])
    row = table[name]
    assert row[0] < row[1] < row[2]


def test_every_missing_value_has_its_reason():
    broken = replace(make_sample(3, None), error=Failure("engine", "out of memory"))
    pool = Pool(Problem("p"), (make_sample(0, peaked(1)), make_sample(1, None), make_sample(2, peaked()), broken))
    table, records = score_pool(pool)
    assert list(table) == list(FREE)
    for name, row in table.items():
        assert row[0] is not None
        assert row[1:] == (None, None, None)
        reasons = [record.reason for record in records if record.scorer == name]
        assert reasons == [None, "no_statistics", "empty", "engine_error"]
    assert {record.key for record in records} == {"k0", "k1", "k2", "k3"}
    assert all((record.value is None) == (record.reason is not None) for record in records)


def test_a_value_that_is_not_finite_is_undefined():
    stats = peaked(1.0, 2.0)
    stats.values[1, STATISTICS.index("logp")] = -np.inf  # a token that the model gave no chance
    stats.values[1, STATISTICS.index("entropy")] = np.nan
    table, records = score_pool(make_pool(stats, peaked(1.0)), ["logprob", "neg-entropy", "gini"])
    assert table["logprob"][0] is None
    assert table["neg-entropy"][0] is None
    assert table["gini"][0] is not None
    assert None not in (table["logprob"][1], table["neg-entropy"][1])
    assert {(r.scorer, r.reason) for r in records if r.value is None} == {
        ("logprob", "undefined"),
        ("neg-entropy", "undefined"),
    }


def test_unknown_scorer():
    with pytest.raises(KeyError):
        score_pool(make_pool(peaked(1)), ["no-such-score"])


def test_with_scores_keeps_what_is_there():
    pool = replace(make_pool(peaked(1)), scores={"judge": (0.5,)})
    assert with_scores(pool, ["gini"]).scores.keys() == {"judge", "gini"}


def test_infer_is_a_mean_over_steps_not_over_tokens():
    text = "first long line\nsecond long line"
    stats = make_stats([[h] + [0.0] * (VOCAB - 1) for h in (1, 1, 1, 8)], starts=[0, 5, 10, 16])
    sc, h = tokens.self_certainty(stats), tokens.entropy(stats)
    pool = Pool(Problem("p"), (make_sample(0, stats, text),))
    expected = (0.4 * sc[0] - 0.6 * h[0] + 0.4 * sc[3] - 0.6 * h[3]) / 2
    assert score_pool(pool, ["infer"])[0]["infer"][0] == pytest.approx(expected)
    only_entropy = score_pool(pool, ["infer"], ScoreSettings(alpha=0.0))[0]["infer"][0]
    assert only_entropy == pytest.approx(-(h[0] + h[3]) / 2)


def test_infer_normalised_within_the_problem():
    pool = make_pool(peaked(1), peaked(3), peaked(), peaked(6))
    table, _ = score_pool(pool, ["infer"], ScoreSettings(normalize="zscore"))
    values = [table["infer"][i] for i in (0, 1, 3)]
    assert table["infer"][2] is None
    assert sum(values) == pytest.approx(0.0, abs=1e-9)
    stats = [peaked(1), peaked(3), peaked(6)]
    certainty = zscores([float(tokens.self_certainty(s)[0]) for s in stats])
    entropy = zscores([-float(tokens.entropy(s)[0]) for s in stats])
    assert values == pytest.approx([0.4 * c + 0.6 * h for c, h in zip(certainty, entropy, strict=True)])


def test_lambda_weight_moves_from_confidence_to_probability():
    stats = peaked(2.0, 2.0)
    pool = make_pool(stats)
    names = ["self-certainty", "entropy"]
    confidence = score_pool(pool, names, ScoreSettings(lambda_weight=0.0))[0]
    probability = score_pool(pool, names, ScoreSettings(lambda_weight=1.0))[0]
    assert confidence["self-certainty"][0] == pytest.approx(float(tokens.cross_entropy(stats)[0]))
    assert confidence["entropy"][0] == pytest.approx(float(tokens.certainty(stats)[0]))
    for name in names:
        assert probability[name][0] == pytest.approx(math.exp(tokens.logp(stats)[0]))


def test_deepconf_window_is_one_for_the_whole_problem():
    assert sequence.deepconf_window([400, 800, 1600]) == 100
    assert sequence.deepconf_window([3, 5]) == 16
    assert sequence.deepconf_window([10**6]) == 2048
    assert sequence.deepconf_window([400], 32) == 32
    assert sequence.deepconf_window([]) == 16
    uncertain_middle = peaked(*([5.0] * 20 + [1.0] * 20 + [5.0] * 24))
    short = peaked(*([3.0] * 4))
    table, _ = score_pool(make_pool(uncertain_middle, short), ["deepconf", "deepconf-lowest", "deepconf-tail"])
    assert table["deepconf-lowest"][0] == pytest.approx(float(tokens.confidence(peaked(1.0))[0]))
    assert table["deepconf-tail"][0] == pytest.approx(float(tokens.confidence(peaked(5.0))[0]))
    assert table["deepconf-lowest"][1] == pytest.approx(table["deepconf"][1])
    fixed, _ = score_pool(make_pool(uncertain_middle), ["deepconf", "deepconf-lowest"], ScoreSettings(window=2048))
    assert fixed["deepconf-lowest"][0] == pytest.approx(fixed["deepconf"][0])


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80), st.integers(1, 90))
def test_group_scores_lie_between_the_tokens(values, window):
    values = np.array(values)
    low, high = values.min() - 1e-9, values.max() + 1e-9
    lowest = sequence.lowest_group(values, window)
    assert low <= lowest <= sequence.bottom_groups(values, window) + 1e-9 <= high + 1e-9
    assert lowest <= values.mean() + 1e-9 or window > 1
    assert len(sequence.group_confidence(values, window)) == max(1, len(values) - window + 1)
    assert low <= sequence.tail(values, window) <= high
