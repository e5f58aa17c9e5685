"""Which answers are the same: our cases, and what must hold for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.grade.grader import decide

from .conftest import CASES

PAIRS = [case for case in CASES if "gold" in case]
numbers = st.integers(-(10**9), 10**9) | st.decimals(-(10**6), 10**6, places=3).map(str)
fractions = st.tuples(st.integers(-999, 999), st.integers(2, 999)).map(lambda t: f"\\frac{{{t[0]}}}{{{t[1]}}}")
atoms = numbers.map(str) | fractions | st.sampled_from(["\\pi", "2\\sqrt{3}", "x+1", "\\infty", "\\text{even}", "3x^2-1"])
tuples = st.lists(atoms, min_size=2, max_size=4).map(lambda parts: "(" + ", ".join(parts) + ")")
answers = atoms | tuples | st.sampled_from(["\\{1,2\\}", "[0,1)", "x=5", "10\\text{ cm}", "25\\%", "(B)"])


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case["why"])
def test_cases(case, grader):
    (verdict,) = grader.verify_many([(case["gold"], case["pred"])])
    assert verdict.equal is case["equal"], verdict
    assert ("(symbolic)" in case["why"]) == (verdict.decided_by == "symbolic"), verdict


@pytest.mark.parametrize("case", [case for case in PAIRS if "symbolic" not in case["why"]], ids=lambda case: case["why"])
def test_the_fast_paths_need_no_order(case):
    there, back = decide(case["gold"], case["pred"]), decide(case["pred"], case["gold"])
    assert there
    assert back is None or there.decided_by == "choice" or back.equal is there.equal


@given(st.text(max_size=40) | answers)
def test_reflexive(answer):
    verdict = decide(answer, answer)
    assert verdict
    assert verdict.equal


@given(answers, answers, st.data())
def test_typography_never_changes_a_verdict(gold, pred, data):
    plain = decide(gold, pred)
    change = data.draw(
        st.sampled_from(
            [
                lambda text: f"  {text} ",
                lambda text: f"${text}$",
                lambda text: f"\\boxed{{{text}}}",
                lambda text: f"{text}.",
                lambda text: text.replace("(", "\\left(").replace(")", "\\right)") if text[-1] == ")" else text,
                lambda text: text.replace("\\frac", "\\dfrac"),
                lambda text: text.replace(", ", ",\\; "),
                lambda text: f"\\displaystyle {text}",
            ]
        )
    )
    changed = decide(gold, change(pred))
    assert (changed and changed.equal) == (plain and plain.equal)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_thousands_separators_never_change_a_verdict(a, b):
    expected = a == b
    for separated in (f"{b:,}", f"{b:,}".replace(",", ",\\!"), f"{b:,}".replace(",", "{,}"), f"{b:,}.00", f"\\${b:,}"):
        verdict = decide(str(a), separated)
        assert verdict
        assert verdict.equal is expected, separated
        assert decide(f"{a:,}", separated).equal is expected


@given(numbers, numbers)
def test_numbers_are_always_decided_at_once(a, b):
    verdict = decide(str(a), str(b))
    assert verdict
    assert verdict.decided_by in ("exact", "numeric")
    assert verdict.equal is (float(a) == float(b))


@given(st.text(max_size=80), st.text(max_size=80))
def test_arbitrary_text_never_raises(gold, pred):
    verdict = decide(gold, pred)
    assert verdict is None or isinstance(verdict.equal, bool)
