"""Grades, clusters, the cache and the explanation."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.grade import Grader
from tamis.grade.grader import decide
from tamis.records import Failure, Sample, Sampling


def sample(text: str, **more) -> Sample:
    return Sample(key="k", problem_id="p", index=0, seed=0, sampling=Sampling(), parts=(text,), **more)


@pytest.mark.parametrize(
    ("given_sample", "gold", "answer", "correct", "reason", "decided_by"),
    [
        (sample("It is \\boxed{0.5}."), "1/2", "0.5", True, None, "numeric"),
        (sample("It is \\boxed{2}."), "1/2", "2", False, None, "numeric"),
        (sample("I do not know"), "1/2", None, False, "no_answer", ""),
        (sample("It is \\boxed{2}."), None, "2", None, "no_reference", ""),
        (sample("I do not know"), None, None, None, "no_reference", ""),
        (sample("", error=Failure("engine", "out of memory")), "1/2", None, None, "engine_error", ""),
        (sample("Therefore, the sum is 12.", finish_reason="length"), "12", None, False, "no_answer", ""),
        (sample("It is \\boxed{0.5}. But", finish_reason="cut"), "1/2", None, False, "no_answer", ""),
        (sample("所以答案是 \\(x=3\\)。"), "3", "x=3", True, None, "numeric"),
    ],
)
def test_every_state_of_a_grade_has_its_name(given_sample, gold, answer, correct, reason, decided_by):
    with Grader() as grader:
        grade = asyncio.run(grader.grade(given_sample, gold))
    assert (grade.key, grade.answer, grade.correct, grade.reason, grade.decided_by) == (
        "k",
        answer,
        correct,
        reason,
        decided_by,
    )


def test_clusters_are_greedy_leaders_in_order(grader):
    answers = ["1/2", None, "0.5", "2", "\\frac{2}{4}", "two", "2.0", None, "\\sin^2 x+\\cos^2 x", "1", "Two"]
    assert asyncio.run(grader.cluster(answers)) == (0, -1, 0, 1, 0, 2, 1, -1, 3, 3, 2)
    assert asyncio.run(grader.cluster([])) == ()
    assert asyncio.run(grader.cluster([None, None])) == (-1, -1)


def test_clusters_never_chain_through_a_member(grader):
    # each equals its neighbour to six decimals, the third not the first
    answers = ["1.0000000", "1.0000004", "1.0000008"]
    assert asyncio.run(grader.cluster(answers)) == (0, 0, 1)


@given(st.lists(st.none() | st.sampled_from(["1", "1.0", "2", "4/2", "0.3333333", "1/3", "\\frac12", ""]), max_size=12))
def test_clusters_are_what_pairwise_verdicts_with_leaders_say(answers):
    with Grader() as grader:
        clusters = asyncio.run(grader.cluster(answers))
    leaders = []
    for answer, cluster in zip(answers, clusters, strict=True):
        if answer is None:
            assert cluster == -1
            continue
        joins = [i for i, leader in enumerate(leaders) if decide(leader, answer).equal]
        assert cluster == (joins[0] if joins else len(leaders))
        if not joins:
            leaders.append(answer)


def test_one_grader_serves_threads_and_event_loops_alike(grader):
    pairs = [(f"\\sin({n}+x)", f"\\sin(x+{n})") for n in range(6)]
    found = []

    async def together():
        return await asyncio.gather(*(grader.verify(*pair) for pair in pairs))

    threads = [threading.Thread(target=lambda: found.append(grader.verify_many(pairs))) for _ in range(2)]
    threads.append(threading.Thread(target=lambda: found.append(asyncio.run(together()))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(verdict.equal for verdicts in found for verdict in verdicts)


def test_the_same_pair_is_asked_once(grader, monkeypatch):
    asked = []
    submit = grader._pool.submit
    monkeypatch.setattr(grader._pool, "submit", lambda gold, pred: asked.append((gold, pred)) or submit(gold, pred))
    pair = ("\\sin(71+x)", "\\sin(x+71)")
    assert [verdict.equal for verdict in grader.verify_many([pair] * 5)] == [True] * 5
    assert grader.verify_many([pair])[0].equal
    assert len(asked) == 1


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr("tamis.grade.grader._CACHED", 10)
    with Grader() as grader:
        grader.verify_many((str(n), "1") for n in range(50))
        assert list(grader._known) == [(str(n), "1") for n in range(40, 50)]


def test_explain_shows_readings_and_the_rule(grader):
    steps = grader.explain("\\frac{1}{2}", "the ratio is 0.5")
    assert "  a sentence; it says: 0.5" in steps
    assert "  read as: 1/2" in steps
    assert steps[-1] == "equal, decided by: numeric"
    steps = grader.explain("\\cot x", "\\tan x")
    assert "the fast paths cannot decide; math-verify is asked" in steps
    assert steps[-1] == "different, decided by: symbolic (cot(x) against tan(x))"


@pytest.mark.parametrize(
    "answer",
    [
        "3/4",
        "6\\sqrt{2}",
        "x^2-1",
        "\\infty",
        "10 cm",
        "25\\%",
        "\\text{even}",
        "40_9",
        "12:30",
        "(1,2]",
        "\\{1,2\\}",
        "(0,1)\\cup(2,3)",
        "x=5",
    ],
)
def test_explain_has_words_for_every_kind_of_value(answer, grader):
    steps = grader.explain(answer, answer)
    assert steps[2].startswith("  read as: ")
    assert "Fraction" not in steps[2]
    assert "nothing" not in steps[2]
