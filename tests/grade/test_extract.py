"""What counts as the answer of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.grade import extract_answer

from .conftest import CASES


@pytest.mark.parametrize("case", [case for case in CASES if "text" in case], ids=lambda case: case["why"])
def test_cases(case):
    assert extract_answer(case["text"], complete=case.get("complete", True)) == case["answer"]


PIECES = st.sampled_from(
    [
        "\\boxed{",
        "}",
        "{",
        "\\",
        "\\}",
        "$",
        "<answer>",
        "</answer>",
        "####",
        "answer is",
        "Final Answer:",
        "答案是",
        "A: ",
        "\n",
        ". ",
        "</think>",
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join))
def test_never_raises_and_never_empty(text):
    answer = extract_answer(text)
    assert answer is None or answer.strip()


@given(st.text(max_size=60), st.from_regex(r"[0-9a-z+]{1,12}", fullmatch=True))
def test_a_last_box_is_found_behind_any_text(before, content):
    assert extract_answer(f"{before}\n. So \\boxed{{{content}}}") == content


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 150_000,
        "\\boxed{" * 50_000 + "x" + "}" * 50_000,
        "{" * 1_000_000,
        "<answer>" * 100_000,
        "####" + " " * 500_000 + "x",
        "<answer>" + "." * 500_000 + "</answer>",
        "the answer is " * 50_000,
        "\\boxed{1}," * 50_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_megabyte_of_hostile_text_takes_linear_time(text):
    # quadratic work on these sizes would take hours, not the second that this takes
    answer = extract_answer(text)
    assert answer is None or len(answer) < len(text)
