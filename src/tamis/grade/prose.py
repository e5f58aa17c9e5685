"""Answers that are sentences: which letter of a choice they name, and what they say in the end."""

from __future__ import annotations

import re

from tamis.grade.extract import conclusion, extract_answer
from tamis.grade.normalise import tidy

_LETTER = re.compile(r"\(?(?:\\text\{)?\(?([A-Ha-h])\)?\}?\)?[.:]?")
_CHOICE = re.compile(r"\(([A-H])\)\s*(.*)|([A-H])(?:[.:)]\s*(.*))?", re.DOTALL)
_LEADING = re.compile(
    r"\(?([A-H])\)?(?:[.:)](?:\s|[\u4e00-\u9fff])|\s*[\u4e00-\u9fff]|,\s+(?:it|because|since|as)\b|\s+(?:because|since)\b)"
)
_CUE = re.compile(r"answer|choice|option|choose|pick|therefore|think|correct|select|选|答案", re.IGNORECASE)
_NAMED = re.compile(r"(?<![A-Za-z'’])([A-H])(?![A-Za-z'’])")
_NEGATION = re.compile(r"\b(?:not|never|isn['’]t|can['’]t|cannot)\b|不", re.IGNORECASE)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-zÀ-ÿ]{2,}")
_MATH = re.compile(r"\$[^$]*\$|\\[a-z]+\{[^{}]*\}|\\\([^\n]{0,500}?\\\)")
_CJK = re.compile(r"[\u4e00-\u9fff]")


def choice(gold: str) -> tuple[str, str] | None:
    """The letter of a multiple-choice reference (`B`, `(B)`, `(B) Alina`) and the words beside it; None for anything else."""
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", tidy(gold)).strip()
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    words = (match[2] or match[4] or "").strip()
    return (match[1] or match[3], words) if not re.search(r"[\d\\=+^*/<>(),]", words) else None


def chosen(pred: str) -> str | None:
    """The letter that an answer to a multiple-choice question names, or None when it names none."""
    text = tidy(pred)
    if (alone := _LETTER.fullmatch(text)) is not None:
        return alone[1].upper()
    if (leading := _LEADING.match(text)) is not None:
        return leading[1]
    if not is_prose(pred):
        return None
    start = max((cue.end() for cue in _CUE.finditer(text)), default=0)
    for letter in _NAMED.finditer(text, start, start + 80):
        if not _NEGATION.search(text, start, letter.start()):
            return letter[1]
    return None


def is_prose(answer: str) -> bool:
    """Whether an answer is a sentence rather than a formula, a number or a name."""
    plain = _MATH.sub(" ", answer)
    words = len(_WORD.findall(plain))
    return (
        words >= 3
        or (words >= 1 and len(plain) != len(answer))
        or (len(_CJK.findall(plain)) >= 3 and bool(re.search(r"\d|\\", answer)))
    )


def reduced(answer: str) -> str:
    """What a sentence says in the end ("the ratio is 13/28" -> "13/28"); the answer itself where that is not plain."""
    if not is_prose(answer) or answer.count("\\boxed") > 1:
        return answer
    return extract_answer(answer) or conclusion("so " + answer.strip().rpartition("\n")[2]) or answer
