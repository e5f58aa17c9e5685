"""One sample of interleaved reasoning as a card: what was asked, written and drawn, in order, beside what was expected.

It is folded until somebody looks, so that a page of hundreds stays quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from tamis.view.candidates import ANSWER_CHARS, MOST_CANDIDATES, PROBLEM_CHARS, VERDICTS
from tamis.view.text import NOTHING, count, esc, number, shorten

TRUNCATED = "truncated"

_ERROR_CHARS = 400
_QUESTION_CHARS = 160
_MOST_PARTS = 200
_SHOWN_SIDE = 144  # pixels of the longer side which smaller pictures are enlarged to, at least
_ORDER = "The results do not say where the pictures belong in the text: all of them stand behind it."


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page: embedded, or behind a link; with neither, `note` says why."""

    name: str
    source: str = ""  # data URL
    size: tuple[int, int] = (0, 0)  # of what is embedded
    link: str = ""  # to the file, relative to the page, where what is embedded is smaller or nothing is
    note: str = ""


Parts = Sequence[str | Picture]


@dataclass(frozen=True, slots=True)
class Card:
    """One sample. `verdict` is one of the keys of `candidates.VERDICTS`."""

    sample_id: str
    verdict: str
    problem: Parts
    made: Parts
    expected: Parts
    answer: str | None = None
    expected_answer: str | None = None
    scores: Mapping[str, float | None] | None = None
    choice: str = ""  # how the candidate that is shown was chosen
    others: Sequence[tuple[str, Parts]] = ()  # candidates that were not chosen: what to say of each, and its parts
    notes: Sequence[str] = ()  # why scores are missing, what could not be read
    counts: str = ""  # steps and pictures, in words
    is_ordered: bool = True  # whether it is known where in the text the pictures belong
    truncated: bool = False
    error: str = ""


def kinds_of(verdict: str, truncated: bool) -> tuple[str, ...]:  # noqa: FBT001
    """What a sample can be looked for by."""
    return (verdict, TRUNCATED) if truncated else (verdict,)


def card(made: Card) -> str:
    """One sample as HTML."""
    order = "" if made.is_ordered else f'<p class="note">{_ORDER}</p>'
    choice = f" · {esc(made.choice)}" if made.choice else ""
    found = "" if made.verdict == "failed" else _answer(made.answer, "none found")
    return (
        f'<details class="candidate trace" data-kinds="{" ".join(kinds_of(made.verdict, made.truncated))}">{_summary(made)}'
        f'<div class="body">{_error(made.error)}<div class="question"><p class="label">Problem</p>{_parts(made.problem)}</div>'
        f'<div class="traces"><div><p class="label">Model{choice}</p>{order}{_parts(made.made)}{found}</div>'
        f'<div><p class="label">Reference</p>{_parts(made.expected)}{_answer(made.expected_answer, "none given")}</div></div>'
        f"{_scores(made)}{_others(made.others)}</div></details>"
    )


def _summary(made: Card) -> str:
    """The line that is always seen."""
    sign, word = VERDICTS[made.verdict]
    question = shorten(" ".join(part for part in made.problem if isinstance(part, str)), _QUESTION_CHARS)
    answer = f"<bdi>{esc(shorten(made.answer, ANSWER_CHARS))}</bdi>" if made.answer is not None else ""
    cut = f'<span class="warn">{TRUNCATED}</span> ' if made.truncated else ""
    return (
        f'<summary><span class="index"><bdi>{esc(shorten(made.sample_id, ANSWER_CHARS))}</bdi></span>'
        f'<span class="verdict {made.verdict}"><span class="sign" aria-hidden="true">{sign}</span> {word}</span>'
        f'<span class="asked" dir="auto" lang="">{esc(question)}</span>'
        f'<span class="answer">{answer}</span><small>{cut}{esc(made.counts)}</small></summary>'
    )


def _others(others: Sequence[tuple[str, Parts]]) -> str:
    """The candidates that were not chosen, folded."""
    shown = "".join(
        f'<details class="other"><summary>{esc(label)}</summary><div>{_parts(parts)}</div></details>'
        for label, parts in others[:MOST_CANDIDATES]
    )
    more = _more(len(others) - MOST_CANDIDATES, "candidates")
    return f'<p class="label apart">Not chosen</p>{shown}{more}' if shown else ""


def _error(error: str) -> str:
    return f'<p class="warn">Failed: {esc(shorten(error, _ERROR_CHARS))}</p>' if error else ""


def _parts(parts: Parts) -> str:
    shown = "".join(_text(part) if isinstance(part, str) else _picture(part) for part in parts[:_MOST_PARTS])
    return (shown or '<p class="note">Nothing.</p>') + _more(len(parts) - _MOST_PARTS, "texts and pictures")


def _more(num: int, what: str) -> str:
    return f'<p class="cut">{count(num)} more {what} are not shown here</p>' if num > 0 else ""


def _text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    more = len(text) - PROBLEM_CHARS
    return f'<div class="text" dir="auto" lang="">{esc(text[:PROBLEM_CHARS])}</div>{_more(more, "characters")}'


def _picture(picture: Picture) -> str:
    name = esc(picture.name)
    caption = f'<a href="{esc(picture.link)}">{name}</a>' if picture.link else name
    note = f'<span class="warn">{esc(picture.note)}</span>' if picture.note else ""
    return f'<figure class="drawn">{_embedded(picture)}{note}<figcaption>{caption}</figcaption></figure>'


def _embedded(picture: Picture) -> str:
    """The picture in the page; a small one is enlarged by a whole factor, so that its pixels stay what they are."""
    if not picture.source:
        return ""
    factor = 1 if picture.link else max(1, ceil(_SHOWN_SIDE / max(1, *picture.size)))
    width, height = (factor * side for side in picture.size)
    drawn = f'width="{width}" height="{height}"{" class=enlarged" if factor > 1 else ""} loading="lazy"'
    return f'<img src="{esc(picture.source)}" alt="{esc(picture.name)}" {drawn}>'


def _answer(answer: str | None, otherwise: str) -> str:
    if answer is None:
        return f'<p class="reference label">Answer: {otherwise}</p>'
    return f'<p class="reference"><span class="label">Answer</span> <bdi>{esc(shorten(answer, 4 * ANSWER_CHARS))}</bdi></p>'


def _scores(made: Card) -> str:
    items = "".join(
        f"<div><dt>{esc(name)}</dt><dd>{NOTHING if value is None else number(value)}</dd></div>"
        for name, value in (made.scores or {}).items()
    )
    notes = "".join(f'<p class="note">{esc(line)}</p>' for line in made.notes)
    return (f'<dl class="scores">{items}</dl>' if items else "") + notes
