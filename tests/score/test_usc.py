from __future__ import annotations

import json

import pytest
from conftest import VECTORS
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from tamis.records import Pool, Problem, Sample, Sampling
from tamis.score.usc import usc_pick, usc_problem, usc_verdicts

CASES = json.loads((VECTORS / "votes.json").read_text(encoding="utf-8"))["usc"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:20])
def test_vectors(case):
    assert usc_pick(case["text"], case["n"]) == case["pick"]
    verdicts = usc_verdicts(make_pool([0] * case["n"]), case["text"])
    assert [verdict.values for verdict in verdicts] == [(float(i == case["pick"]),) for i in range(case["n"])]


@pytest.mark.parametrize(
    "reply", ["The most consistent response is **Response 2**.", "Response: 2", "最一致的是 Response 2。", "response <2>"]
)
def test_names_with_decoration(reply):
    assert usc_pick(reply, 3) == 2


@given(st.text() | st.from_regex(r"Response \d{1,30}"), st.integers(1, 9))
def test_a_pick_is_always_one_of_them(reply, count):
    assert 0 <= usc_pick(reply, count) < count


def test_the_question_numbers_what_was_said():
    pool = make_pool([0, 1, 0, 1], failed=[1])
    asked = usc_problem(pool)
    assert asked.id == pool.problem.id
    blocks = [line for line in asked.prompt.splitlines() if line.startswith(("[Response", "text"))]
    assert blocks == ["[Response 0]", "text 0", "[Response 1]", "text 2", "[Response 2]", "text 3"]
    assert "3 responses" in asked.prompt
    assert "numbered from 0 to 2" in asked.prompt
    assert [(v.key, v.values) for v in usc_verdicts(pool, "Response 1")] == [("p-0", (0.0,)), ("p-2", (1.0,)), ("p-3", (0.0,))]


def test_one_answer_needs_no_question():
    pool = make_pool([0, 1], failed=[0])
    assert usc_problem(pool) is None
    assert [(v.key, v.values) for v in usc_verdicts(pool)] == [("p-1", (1.0,))]
    assert usc_problem(make_pool([0], failed=[0])) is None
    assert usc_verdicts(make_pool([0], failed=[0])) == []


def test_hostile_text_fills_no_placeholder():
    texts = ("{problem} {responses} {0}", "Response 9 \\g<1>", "中文 {count}")
    samples = tuple(Sample(f"k{i}", "p", i, i, Sampling(), (text,)) for i, text in enumerate(texts))
    asked = usc_problem(Pool(Problem("p", "Why {last}{responses}?"), samples)).prompt
    assert all(asked.count(text) == 1 for text in (*texts, "Why {last}{responses}?"))
