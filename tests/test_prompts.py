"""Templates: what is filled, and what survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import UsageError
from tamis.prompts import MATH_PROMPT, PromptTemplate, fill
from tamis.records import Message, Problem


def test_the_template_of_the_source_document():
    prompt = PromptTemplate()(Problem("p", "求 \\frac{1}{2}+x 的值"))
    assert prompt.text == (
        "Q: 求 \\frac{1}{2}+x 的值\nLet's think step by step and output the final answer within \\boxed{}\nA:"
    )
    assert [message.role for message in prompt.messages] == ["user"]


@given(st.text())
def test_a_value_is_never_filled_again(text):
    assert PromptTemplate("<{problem}>{other}")(Problem("p", text)).text == f"<{text}>{{other}}"


def test_unknown_placeholders_and_braces_survive():
    assert fill("{a} {b} \\boxed{} {a", {"a": "{b}"}) == "{b} {b} \\boxed{} {a"
    assert fill(MATH_PROMPT, {}) == MATH_PROMPT


def test_system_turn_and_question_name():
    prompt = PromptTemplate("Frage: {question}", system="Kurz.", raw=True)(Problem("p", "1+1?"))
    assert prompt.messages == (Message("system", "Kurz."), Message("user", "Frage: 1+1?"))
    assert prompt.raw


def test_a_problem_with_messages_is_asked_as_it_stands():
    turns = (Message("user", "hi"), Message("assistant", "yes?"), Message("user", "1+1"))
    assert PromptTemplate()(Problem("p", messages=turns)).messages == turns


def test_a_template_without_a_place_is_refused():
    with pytest.raises(UsageError, match="no place"):
        PromptTemplate("answer!")
