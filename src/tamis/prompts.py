r"""Prompt templates and their safe filling: problem -> prompt.

Only the placeholders named here are replaced, all in one pass: braces in a template (`\boxed{}`), in a problem or in generated
text survive, and a value that itself looks like a placeholder is never filled again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tamis.errors import UsageError
from tamis.records import Message, Problem, Prompt

MATH_PROMPT = "Q: {problem}\nLet's think step by step and output the final answer within \\boxed{}\nA:"
"""The template of `infer` and `generate`."""

_PROBLEM_NAMES = ("problem", "question")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each `{name}` for which there is a value; leave everything else as it stands."""
    if not values:
        return template
    names = "|".join(map(re.escape, values))
    return re.sub(r"\{(" + names + r")\}", lambda match: values[match[1]], template)


def problem_text(problem: Problem) -> str:
    """A problem as one text, for another model to read: its prompt; of a conversation, each turn after its role."""
    if problem.prompt or len(problem.messages) == 1:
        return problem.prompt or problem.messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in problem.messages)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """Makes the prompt of each problem: one user turn, after an optional system turn; `raw` skips the chat template.

    A problem that brings its own `messages` is asked as it stands.
    """

    template: str = MATH_PROMPT
    system: str = ""
    raw: bool = False

    def __post_init__(self) -> None:
        if not any(f"{{{name}}}" in self.template for name in _PROBLEM_NAMES):
            raise UsageError("the prompt template has no place for the problem", "Put {problem} where the problem belongs")

    def __call__(self, problem: Problem) -> Prompt:
        """The prompt of one problem."""
        if problem.messages:
            return Prompt(problem.messages, problem.images, self.raw)
        text = fill(self.template, dict.fromkeys(_PROBLEM_NAMES, problem.prompt))
        turns = [Message("system", self.system)] if self.system else []
        return Prompt((*turns, Message("user", text)), problem.images, self.raw)
