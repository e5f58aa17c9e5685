"""What is made of samples: readings and verdicts, grades, scores, pools and choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tamis.records.asked import Problem, Prompt
from tamis.records.drawn import Failure, Sample


@dataclass(frozen=True, slots=True)
class Reading:
    """Samples to be read by a model as if it had just drawn them, under the prompt that they answer: see `engines.base`."""

    prompt: Prompt
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked after each part of a text: it reads `lead`, part by part the text, and after each part `tail`.

    All of it is one user turn where the model has a chat template. The answer is the probability of the first option against
    the second; the options are words of which the first token, with or without a blank before it, tells them apart.
    """

    key: str  # of the sample that the text is
    lead: str  # the same for all samples of a problem: run once
    parts: tuple[str, ...]
    tail: str
    options: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model said of one sample: a number for each of its parts, or one for the whole; NaN where it said none."""

    key: str
    values: tuple[float, ...]
    error: Failure | None = None


Unscored = Literal[
    "no_answer",
    "no_statistics",
    "no_hidden_states",
    "no_reference",
    "not_asked",
    "empty",
    "undefined",
    "engine_error",
    "judge_failed",
    "timeout",
]
"""Why a value is missing. Never 0."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a sample answered, and whether that is right."""

    key: str
    answer: str | None  # None: no answer could be extracted
    correct: bool | None  # None: not graded, for `reason`
    reason: Unscored | None = None
    decided_by: str = ""  # exact, numeric, symbolic, ...: the rule that decided

    def to_json(self) -> dict[str, Any]:
        """As a plain dict, key first."""
        row: dict[str, Any] = {"key": self.key, "answer": self.answer, "correct": self.correct}
        if self.reason:
            row["reason"] = self.reason
        if self.decided_by:
            row["decided_by"] = self.decided_by
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Grade:
        """Read what `to_json` wrote."""
        return Grade(row["key"], row["answer"], row["correct"], row.get("reason"), row.get("decided_by", ""))


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's value for one sample; higher is better; None has a reason."""

    key: str
    scorer: str
    value: float | None
    reason: Unscored | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """One problem and all that is known of its samples; the tuples run parallel, in order of sample index."""

    problem: Problem
    samples: tuple[Sample, ...]
    grades: tuple[Grade, ...] = ()
    clusters: tuple[int, ...] = ()  # equivalence classes of the answers, numbered from 0; -1: no answer
    scores: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)  # scorer -> a value a sample


@dataclass(frozen=True, slots=True)
class Choice:
    """What a selector took: a sample's index, or None when it abstains (no sample has an answer)."""

    problem_id: str
    selector: str
    index: int | None
    answer: str | None = None
    votes: Mapping[str, float] = field(default_factory=dict)  # answer of each cluster's leader -> total
    accepted: bool = True  # False: a threshold was asked for and nothing reached it
    num_paid: int | None = None  # samples it had to see, the first so many; None: all

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        row: dict[str, Any] = {"id": self.problem_id, "selector": self.selector, "index": self.index, "answer": self.answer}
        if self.votes:
            row["votes"] = dict(self.votes)
        if not self.accepted:
            row["accepted"] = False
        if self.num_paid is not None:
            row["num_paid"] = self.num_paid
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Choice:
        """Read what `to_json` wrote."""
        votes, accepted = row.get("votes", {}), row.get("accepted", True)
        return Choice(row["id"], row["selector"], row["index"], row["answer"], votes, accepted, row.get("num_paid"))
