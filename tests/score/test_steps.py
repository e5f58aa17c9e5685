from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.score.keysteps import answer_step, key_steps
from tamis.score.steps import score_norm, step_means, zscores
from tamis.steps import split_steps, step_ids

TEXTS = st.text(st.sampled_from("ab 3.\n\t#*Step步骤。")) | st.lists(
    st.sampled_from(["Step 1: we add\n", "## Step 2\n", "\n\n", "\n", "x", "so x = 3.14, e.g. 1. ", "答案是 5。\n"])
).map("".join)


@given(TEXTS)
def test_steps_partition_the_text(text):
    steps = split_steps(text)
    assert "".join(text[start:end] for start, end in steps) == text
    assert all(start < end for start, end in steps)
    if len(steps) > 1:
        assert all(len(text[start:end].strip()) >= 5 for start, end in steps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Step 1: add 3.\nStep 2: done now.", ["Step 1: add 3.\n", "Step 2: done now."]),
        ("  ### Step 1\nfirst\n\n more\n**step 2** last", ["  ### Step 1\nfirst\n\n more\n", "**step 2** last"]),
        ("Step 1: the only header.\nSo it is e.g. 3.14. Right.", ["Step 1: the only header.\n", "So it is e.g. 3.14. Right."]),
        ("\n\nStepping 1\n\nSteps 2 and 3", ["\n\nStepping 1\n\n", "Steps 2 and 3"]),
        ("第一步：相加得五。\n第二步：再乘以二。", ["第一步：相加得五。\n", "第二步：再乘以二。"]),
        ("Hi.\nStep 1: alpha\nStep 2: beta", ["Hi.\nStep 1: alpha\n", "Step 2: beta"]),
        ("no break", ["no break"]),
        ("", []),
    ],
)
def test_where_steps_are_cut(text, expected):
    assert [text[start:end] for start, end in split_steps(text)] == expected


def test_hostile_white_space_ends():
    """A pattern that tried every split of a long blank line would take hours here."""
    blank = " " * 200_000
    assert len(split_steps((blank + "first\n") * 3 + "\n" * 200_000 + "#" * 200_000 + blank)) == 2


@given(st.lists(st.integers(0, 400), max_size=30).map(sorted), TEXTS)
def test_tokens_fall_into_steps_in_order(starts, text):
    ids = step_ids(np.array(starts, dtype=np.int32), split_steps(text))
    assert len(ids) == len(starts)
    assert (np.diff(ids) >= 0).all()
    assert all(0 <= i < max(1, len(split_steps(text))) for i in ids)


def test_a_step_without_tokens_does_not_count():
    assert step_means(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 2])).tolist() == [2.0, 10.0]


def test_key_steps_keep_the_numbers_of_the_steps():
    found = key_steps(np.array([0.1, 0.1, 2.0, 0.1, 0.1]), np.array([5.0, 5.0, 1.0, 4.0, 4.0]), np.array([0, 0, 2, 3, 3]))
    assert found.steps == (0, 2, 3)
    assert found.forks == (2,)
    assert found.key == (2,)
    assert found.max_drop == 2
    assert found.drop == (0.0, 4.0, -3.0)
    nothing = key_steps(np.zeros(3), np.ones(3), np.zeros(3, dtype=int))
    assert nothing.key == ()
    assert key_steps(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int)).max_drop is None


def test_answer_step():
    text = "we had \\boxed{1} first.\n\nThen it is \\boxed{2}.\n\nGood bye."
    steps = split_steps(text)
    assert answer_step(text, steps) == 1
    assert answer_step("no box here\n\nbut two steps", split_steps("no box here\n\nbut two steps")) == 1
    assert answer_step("", []) is None


@given(st.lists(st.floats(-1e3, 1e3), max_size=12))
def test_zscores(values):
    z = np.array(zscores(values))
    assert len(z) == len(values)
    if len(values) and z.any():
        assert z.mean() == pytest.approx(0, abs=1e-6)
        assert z.std() == pytest.approx(1, abs=1e-6)


def test_score_norm_leaves_the_unscored_out():
    assert score_norm([1.0, None, 1.0]) == [0.5, None, 0.5]
    assert score_norm([]) == []
    low, none, high = score_norm([1.0, None, 2.0])
    assert none is None
    assert low < 0.5 < high
