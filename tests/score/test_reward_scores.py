from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from tamis.records import Pool
from tamis.score import ScoreSettings, score_pool
from tamis.score.cot_decoding import answer_margin, boxed_span
from tamis.score.reward import aggregate, reward_questions
from tamis.select import choose

REWARDS = st.lists(st.floats(-40, 40), min_size=1, max_size=6)


def rewarded(pool, *rewards):
    samples = tuple(replace(s, verdicts={"reward": r}) for s, r in zip(pool.samples, rewards, strict=True))
    return Pool(pool.problem, samples, pool.grades, pool.clusters)


@given(REWARDS)
def test_a_product_is_the_log_odds_of_the_product_of_probabilities(rewards):
    got = aggregate(np.array(rewards), "prod")
    if len(rewards) == 1:
        assert got == pytest.approx(rewards[0], abs=1e-9)
    assert got <= min(rewards) + 1e-9  # a further step never makes it likelier
    product = math.prod(1 / (1 + math.exp(-r)) for r in rewards)
    assert 1 / (1 + math.exp(-got)) == pytest.approx(product, rel=1e-9, abs=1e-12)


PRODUCT = math.prod(1 / (1 + math.exp(-r)) for r in (-1.0, 1.0, 3.0))


@pytest.mark.parametrize(
    ("how", "value"), [("last", 3.0), ("min", -1.0), ("mean", 1.0), ("prod", math.log(PRODUCT / (1 - PRODUCT)))]
)
def test_rewards_of_steps_become_one(how, value):
    table, _ = score_pool(rewarded(make_pool([0]), (-1.0, 1.0, 3.0)), ["reward"], ScoreSettings(reward_steps=how))
    assert table["reward"][0] == pytest.approx(value)


def test_a_weighted_vote_of_rewards():
    """Two of middling reward outvote one of high reward; a negative reward still counts for its answer."""
    pool = rewarded(make_pool([0, 1, 1, -1]), (2.0,), (-0.1,), (0.3,), (9.0,))
    scored = replace(pool, scores=score_pool(pool, ["reward"])[0])
    choice = choose(scored, "weighted-reward")
    assert (choice.index, choice.answer) == (2, "B")
    assert choice.votes == pytest.approx({"A": 1 / (1 + math.exp(-2)), "B": 1 / (1 + math.exp(0.1)) + 1 / (1 + math.exp(-0.3))})
    assert choose(scored, "reward").index == 0
    unscored = replace(scored, scores={"reward": (None, -800.0, None, None)})
    assert choose(unscored, "weighted-reward").index == 1


def test_questions_hold_the_whole_text():
    pool = make_pool([0, 0], failed=[1])
    text = "第一步：3 + 4 = 7\n\nStep two is to box it.\n\n\\boxed{7}"
    pool = replace(pool, samples=(replace(pool.samples[0], parts=(text,)), pool.samples[1]))
    (steps,) = reward_questions(pool)
    assert (steps.key, steps.lead, "".join(steps.parts), len(steps.parts)) == ("p-0", "?", text, 3)


# --- cot-decoding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("\\boxed{1} then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{a} and {\\boxed{\\{b\\}}", "\\{b\\}"),
        ("答案是 \\boxed {七}", "七"),
        ("\\boxed{1} \\boxed{cut", "1"),
        ("\\boxed{1} \\boxed{ }", "1"),
        ("boxed{1} }{ \\fbox{2}", None),
        ("", None),
    ],
)
def test_the_inside_of_the_last_box(text, inside):
    span = boxed_span(text)
    assert (span and text[slice(*span)]) == inside


def test_only_tokens_of_the_answer_count():
    text = "x \\boxed{12} y"  # the answer is at 9..11
    starts = np.array([0, 2, 8, 10, 11, 12])
    margin = np.array([9.0, 9.0, 0.2, 0.6, 9.0, 9.0])
    assert answer_margin(margin, starts, text) == pytest.approx(0.4)
    half_characters = np.array([0, 2, 9, 9, 10, 11])  # two tokens make up the first digit
    assert answer_margin(np.array([9.0, 9.0, 0.1, 0.2, 0.6, 9.0]), half_characters, text) == pytest.approx(0.3)
    assert math.isnan(answer_margin(margin, starts, "no box at all"))
    assert math.isnan(answer_margin(margin[:0], starts[:0], text))


def test_cot_decoding_sums_over_each_answer():
    pool = make_pool([0, 1, 1, 1], scores={"cot-decoding": [0.9, 0.4, 0.4, None]})
    assert choose(pool, "cot-decoding").votes == pytest.approx({"A": 0.9, "B": 0.8})
