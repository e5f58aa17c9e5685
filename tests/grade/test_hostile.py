"""No expression hangs, crashes or swells a run, and no text is ever run as a program."""

from __future__ import annotations

import pytest

from tamis.grade import Grader, extract_answer

HANGING = ["9^{9^{9^9}}", "((((9!)!)!)!)", "\\prod_{k=1}^{999999} (x+k)"]
ODD = [
    "9^9^9^9",
    "x" * 100_000,
    "1+" * 50_000 + "1",
    "{" * 3000 + "5" + "}" * 3000,
    "\\frac{" * 90 + "1" + "}{2}" * 90,
    "\x00\x00",
    "\\frac{1}{",
    "}{",
    "\\sqrt[",
    "\\\\" * 400,
    "^" * 500,
    "1" * 1900,
    "0." + "3" * 1900,
    "\ud800",
    "$" * 300,
    "%s {0} {answer} ${HOME}",
]


@pytest.fixture(scope="module")
def impatient():
    with Grader(num_workers=1, limit_s=1.0) as grader:
        yield grader


def test_a_hanging_pair_costs_its_worker_and_nothing_else(impatient):
    pairs = [("\\sin^2 x+\\cos^2 x", "1"), *((gold, "\\cos(1)") for gold in HANGING), ("\\tan x", "\\frac{\\sin x}{\\cos x}")]
    verdicts = impatient.verify_many(pairs)
    assert [verdict.decided_by for verdict in verdicts[1:-1]].count("timeout") >= 2
    assert not any(verdict.equal for verdict in verdicts[1:-1])
    assert (verdicts[0].equal, verdicts[0].decided_by) == (True, "symbolic")
    assert (verdicts[-1].equal, verdicts[-1].decided_by) == (True, "symbolic")


def test_after_a_timeout_equal_strings_are_still_equal(impatient):
    (verdict,) = impatient.verify_many([(HANGING[0], f" \\boxed{{{HANGING[0]}}}. ")])
    assert verdict.equal


def test_odd_text_gets_a_verdict(impatient):
    verdicts = impatient.verify_many([("7", text) for text in ODD] + [(text, text) for text in ODD])
    assert not any(verdict.equal for verdict in verdicts[: len(ODD)])
    assert all(verdict.equal for verdict in verdicts[len(ODD) :])


def test_text_is_never_run(impatient, tmp_path):
    trap = tmp_path / "trap"
    program = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    impatient.verify_many([("1", program), (program, "1"), ("1", f"$1+{program}$"), ("\\sin 1", program)])
    assert extract_answer(f"\\boxed{{{program}}}") == program
    assert not trap.exists()
