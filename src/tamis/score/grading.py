"""Grading of candidates by a judge that sees what they answer: what it is asked, and what its replies say.

Only the judge's replies are read, never a candidate's text. A reply without a score that can be read is no score of 0: the
judge is asked once more and told why, and then the candidate is ungraded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.config import Arm
from tamis.errors import UsageError
from tamis.prompts import fill
from tamis.records import Message, Problem, Prompt, Sample, Unscored
from tamis.score.grades import Grade, read_grade, read_grades

ONE, ALL = "generated_answer", "candidate_answers"
"""The placeholders of a template: for one candidate, or for all of an image in a numbered list."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge said of one candidate."""

    score: float | None  # 0 to 100; None: ungraded, for `reason`
    reason: Unscored | None = None
    explanation: str = ""  # of the score; of what is ungraded, why


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One answer to one image, and its judgement."""

    arm: Arm
    prompt_text: str
    sample: Sample
    judgement: Judgement | None = None  # None: never judged, because the draw failed
    grading_seconds: float = 0.0  # of all calls about it
    grading_tokens: tuple[int, int] = (0, 0)  # prompt, completion: its share, where candidates are judged together
    num_sharing: int = 1  # how many were judged by the same calls


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """An image, its candidates in the order in which they were asked for, and the best of them."""

    problem: Problem
    candidates: tuple[Candidate, ...]
    best: Candidate | None  # the highest score, the first of equals; None: nothing has a score
    is_accepted: bool  # the best reaches the threshold


_ONE_FORM = """

Reply with one JSON object: {"explanation": "<your reasons>", "score": <a number from 0 to 100>}
Or give your reasons, and end with one line of this form:
Score: <0-100>"""
_ALL_FORM = """

Reply with one JSON object: {"grades": [{"number": 1, "explanation": "<your reasons>", "score": <a number from 0 to 100>}, ...]}
Or give your reasons, and end with one line of this form for each answer:
Answer <its number>: Score: <0-100>"""
_AGAIN = "\n\nThis is attempt {attempt}. Your reply before this one could not be used: {complaint}."


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_ONE_SCHEMA = _object(explanation=_TEXT, score=_NUMBER)  # the reasons first: they are what the score rests on
_GRADE_SCHEMA = _object(number=_INTEGER, explanation=_TEXT, score=_NUMBER)
_ALL_SCHEMA = _object(grades={"type": "array", "items": _GRADE_SCHEMA})


def judges_all(template: str) -> bool:
    """Whether a template judges all candidates of an image in one call.

    Raises:
        UsageError: It has no place for candidates, or places for both.
    """
    found = [name for name in (ONE, ALL) if f"{{{name}}}" in template]
    if len(found) != 1:
        what = "places for both one candidate and all" if found else "no place for a candidate"
        advice = f"Put {{{ONE}}} where one candidate belongs, or {{{ALL}}} where all of an image belong"
        raise UsageError(f"the grading template has {what}", advice)
    return found == [ALL]


def grading_prompt(template: str, texts: Sequence[str], images: tuple[str, ...], replies: Sequence[Sample] = ()) -> Prompt:
    """What the judge is asked about candidates: the template, filled in one pass, and the form of a reply.

    Args:
        template: With a place for candidates.
        texts: Of the candidates: one, unless the template judges all.
        images: What they answer.
        replies: What it said before; the last could not be used.
    """
    is_all = judges_all(template)
    numbered = (f"[Answer {number}]\n{text}\n[End of answer {number}]" for number, text in enumerate(texts, 1))
    asked = fill(template, {ALL: "\n\n".join(numbered)} if is_all else {ONE: texts[0]})
    asked += _ALL_FORM if is_all else _ONE_FORM
    if replies:
        why = complaint(replies, len(texts), is_all=is_all)
        asked += fill(_AGAIN, {"attempt": str(len(replies) + 1), "complaint": why})
    return Prompt((Message("user", asked),), images, schema=_ALL_SCHEMA if is_all else _ONE_SCHEMA)


def complaint(replies: Sequence[Sample], num: int, *, is_all: bool) -> str:
    """Why replies about `num` candidates do not do, in words for the judge; "": each has a score."""
    missing = [number for number, grade in enumerate(_grades(replies, num, is_all=is_all), 1) if grade is None]
    if not missing:
        return ""
    if replies and replies[-1].truncated:
        return "it was cut off before its end; be brief"
    if not is_all:
        return "it has no score from 0 to 100 that can be read"
    return f"it has no score from 0 to 100 that can be read for {', '.join(f'answer {number}' for number in missing)}"


def judgements(replies: Sequence[Sample], num: int, *, is_all: bool) -> list[Judgement]:
    """What replies say of `num` candidates; of each, the first that has a score for it counts."""
    grades = _grades(replies, num, is_all=is_all)
    return [Judgement(grade.score, None, grade.explanation) if grade else _ungraded(replies, is_all=is_all) for grade in grades]


def _grades(replies: Sequence[Sample], num: int, *, is_all: bool) -> list[Grade | None]:
    found: dict[int, Grade] = {}
    for reply in replies:
        if reply.error or reply.truncated:  # the last words of a reply that was cut off are no verdict
            continue
        if is_all:
            found = read_grades(reply.text, num) | found
        elif 1 not in found and (grade := read_grade(reply.text)):
            found[1] = grade
    return [found.get(number) for number in range(1, num + 1)]


def _ungraded(replies: Sequence[Sample], *, is_all: bool) -> Judgement:
    last = replies[-1] if replies else None
    if last is None:
        return Judgement(None, "not_asked")
    if last.error:
        return Judgement(None, "engine_error", f"the judge failed: {last.error.message}")
    why = "was cut off" if last.truncated else "has no score from 0 to 100" + (" for it" if is_all else "")
    return Judgement(None, "judge_failed", f"the judge's reply {why}")


def rejected(problem: Problem, candidates: Iterable[Candidate], threshold: float) -> Rejected:
    """An image with the best of its candidates."""
    found = tuple(candidates)
    best, highest = None, -1.0
    for candidate in found:
        score = score_of(candidate)
        if score is not None and score > highest:
            best, highest = candidate, score
    return Rejected(problem, found, best, is_accepted=highest >= threshold)


def score_of(candidate: Candidate) -> float | None:
    """Its score; None: it has none."""
    return candidate.judgement.score if candidate.judgement else None
