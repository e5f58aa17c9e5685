"""What a judge's reply says, read leniently in form and strictly in scale: JSON, else the last words of its prose.

JSON counts for nothing where prose after it gives a score: then it was a quotation, perhaps of the candidate.
A score lies from 0 to 100. What is out of range, a range, or of another scale is none; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from tamis.score.judge import labelled_score


class Grade(NamedTuple):
    """A score from 0 to 100, and what was said for it."""

    score: float
    explanation: str


_SCORE_NAMES = ("score", "评分", "得分", "分数")
_REASON_NAMES = ("explanation", "reason", "reasons", "reasoning", "rationale", "comment", "解释", "理由", "原因")
_NUMBER_NAMES = ("number", "answer", "candidate", "index", "id", "编号", "序号")

_OF_100 = r"(?P<score>[-+]?\d++(?:\.\d++)?+)\s*(?:/|out of)\s*100"
_BARE = re.compile(rf"(?<![\w./,:-]){_OF_100}(?![\d/]|[.,]\d)", re.IGNORECASE)
_ONLY = re.compile(r"[\W_]*?(?P<score>[-+]?\d++(?:\.\d++)?+)(?:\s*(?:/|out of)\s*100|\s*分)?+[^\w/]*", re.IGNORECASE)
_WORDED = re.compile(
    r"[\W_]*(?:(?:answer|candidate|response)|候选答案|候选|回答|答案)[\s*_#:：<\[(]{0,8}(\d{1,4})(?!\d)", re.IGNORECASE
)
_COUNTED = re.compile(r"[\s*_#<>\[(-]*(\d{1,4})[\])*_]*[.:：)、]")
_BEGINS = re.compile(r"(?:^|>)[ \t]*\{", re.MULTILINE)  # an object, on a line of its own or after a tag
_MOST_STARTS = 16
_FENCED = re.compile(r"```\w*\s*\n(.*?)```", re.DOTALL)


def read_grade(reply: str) -> Grade | None:
    """The grade that a reply about one candidate gives; None: none that can be read."""
    for value, rest in _json_values(reply):
        if isinstance(value, dict) and (said := _named(value, _SCORE_NAMES)) is not None and labelled_score(rest) is None:
            return _grade(said, _named(value, _REASON_NAMES), reply)
    score = labelled_score(reply)
    if score is None:
        bare = list(_BARE.finditer(reply))
        number = bare[-1] if bare else _ONLY.fullmatch(reply)
        score = float(number["score"]) if number else None
    return _grade(score, None, reply)


def read_grades(reply: str, num: int) -> dict[int, Grade]:
    """The grades of candidates 1 to `num`, as far as a reply gives them; of two for one candidate, the last."""
    for value, rest in _json_values(reply):
        if (found := _listed(value, num)) and not _in_prose(rest, num):
            return found
    found = _in_prose(reply, num)
    if not found and num == 1 and (grade := read_grade(reply)):
        return {1: grade}
    return found


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_values(reply: str) -> Iterator[tuple[Any, str]]:
    """What of a reply is JSON, and what is said after it, which may be that it was a quotation.

    The whole, a fenced block, the last first, or an object that ends with the last brace.
    """
    end = reply.rfind("}") + 1
    fenced = [match.span(1) for match in _FENCED.finditer(reply)]
    starts = [reply.find("{"), *(match.end() - 1 for match in _BEGINS.finditer(reply))][:_MOST_STARTS]
    for begin, stop in ((0, len(reply)), *reversed(fenced), *((start, end) for start in starts)):
        text = reply[begin:stop]
        if text.strip()[:1] in ("{", "["):
            try:
                yield orjson.loads(text), reply[stop:]
            except orjson.JSONDecodeError:
                continue


def _listed(value: Any, num: int) -> dict[int, Grade]:
    """The grades of a list of objects or numbers, of an object by number, or of either inside an object."""
    if isinstance(value, list):
        numbers = [_numeral(_named(item, _NUMBER_NAMES)) if isinstance(item, dict) else None for item in value]
        if not any(numbers) and len(value) == num:
            numbers = list(range(1, num + 1))
        pairs = list(zip(numbers, value, strict=True))
    elif isinstance(value, dict):
        pairs = [(_numeral(key), item) for key, item in value.items()]
        if not any(number is not None for number, _ in pairs):
            inside = (_listed(item, num) for item in value.values() if isinstance(item, list | dict))
            return next(filter(None, inside), {})
    else:
        return {}
    if any(number == 0 for number, _ in pairs):  # counted from 0: nobody knows which is which
        return {}
    found = {}
    for number, item in pairs:
        is_object = isinstance(item, dict)
        said, why = (_named(item, _SCORE_NAMES), _named(item, _REASON_NAMES)) if is_object else (item, None)
        if number and number <= num and (grade := _grade(said, why, "")):
            found[number] = grade
    return found


def _named(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((value for key, value in row.items() if key.casefold().strip() in names), None)


def _numeral(value: Any) -> int | None:
    """Of `3`, `"3"` or `"Answer 3"`: 3."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    match = re.fullmatch(r"\D*?(\d{1,4})", str(value))
    return int(match[1]) if match else None


def _grade(said: Any, why: Any, reply: str) -> Grade | None:
    if isinstance(said, str):
        only = _ONLY.fullmatch(said)
        said = float(only["score"]) if only else None
    if isinstance(said, bool) or not isinstance(said, int | float) or math.isnan(said) or not 0 <= said <= 100:
        return None
    return Grade(float(said), (why if isinstance(why, str) else reply).strip())


# --- prose -----------------------------------------------------------------------------------------------------------


def _in_prose(reply: str, num: int) -> dict[int, Grade]:
    """Scores after `Answer 3`, on its line or below it; where no line begins so, after `3.` or `3:` on the same line."""
    lines = reply.splitlines()
    is_worded = any(_WORDED.match(line) for line in lines)
    found: dict[int, Grade] = {}
    texts: dict[int, list[str]] = {}
    number: int | None = None
    for line in lines:
        heading = (_WORDED if is_worded else _COUNTED).match(line)
        if heading:
            number = int(heading[1])
            line = line[heading.end() :]
        elif not is_worded:
            continue
        if number is None or not 1 <= number <= num:
            continue
        texts.setdefault(number, []).append(line)
        score = labelled_score(line)
        if score is None and heading and (only := _ONLY.fullmatch(line)):
            score = float(only["score"])
        if score is not None and (grade := _grade(score, None, "")):
            found[number] = grade
    return {number: grade._replace(explanation="\n".join(texts[number]).strip(" :：-*\n")) for number, grade in found.items()}
