"""The page on interleaved reasoning: what was asked, written and drawn, in order, beside what was expected, and the scores.

A sample is folded until somebody looks, so that a page of hundreds stays quick. Pictures stand in the page as long as there is
room; behind that they are links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.store.files import write_atomically
from tamis.view.candidates import ANSWER_CHARS, PROBLEM_CHARS, VERDICTS
from tamis.view.report import facts_list, page, warnings_list
from tamis.view.text import NOTHING, count, esc, number, shorten

_ERROR_CHARS = 400


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page: embedded, or behind a link; with neither, `note` says why."""

    name: str
    source: str = ""  # data URL
    link: str = ""  # relative to the page
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
    notes: Sequence[str] = ()  # why scores are missing, what could not be read
    counts: str = ""  # steps and pictures, in words
    truncated: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A line of the table: a metric over all samples, as text."""

    name: str
    value: str
    interval: str
    num: str
    unscored: str


def write_gallery(
    path: Path,
    title: str,
    facts: Mapping[str, str],
    metrics: Sequence[MetricLine],
    cards: Iterable[str],
    warnings: Sequence[str] = (),
) -> None:
    """Write the page; an older file is replaced in one step.

    Args:
        path: The file.
        title: Its heading.
        facts: What the run was.
        metrics: The table.
        cards: What `card` made of the samples.
        warnings: Lines shown above the numbers.

    Raises:
        OSError: The file cannot be written.
    """
    shown = "".join(cards)
    body = (
        f"<header><p class='brand'>Tamis</p><h1>{esc(title)}</h1>{facts_list(facts)}</header>"
        f"{warnings_list(warnings)}{_table(metrics)}"
        '<section aria-labelledby="samples"><h2 id="samples">Samples</h2>'
        '<p class="note">What the model wrote and drew stands on the left, what was expected on the right.</p>'
        '<div class="tools"><button type="button" data-unfold aria-expanded="false">Unfold all</button></div>'
        f'<div class="candidates">{shown or _NO_SAMPLES}</div></section>'
    )
    write_atomically(path, [page(title, body).encode("utf-8")])


_NO_SAMPLES = '<p class="note">No samples.</p>'


def _table(metrics: Sequence[MetricLine]) -> str:
    heads = "".join(f'<th scope="col" class="num">{name}</th>' for name in ("Value", "95 % interval", "Samples"))
    rows = "".join(
        f'<tr><th scope="row">{esc(line.name)}</th>'
        + "".join(f'<td class="num">{esc(cell)}</td>' for cell in (line.value, line.interval, line.num))
        + f"<td>{esc(line.unscored)}</td></tr>"
        for line in metrics
    )
    return (
        '<section aria-labelledby="metrics"><h2 id="metrics">Metrics</h2><div class="scroll"><table>'
        "<caption>Failed samples have no part in any of them.</caption>"
        f'<thead><tr><th scope="col">Metric</th>{heads}<th scope="col">Not scored</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def card(made: Card) -> str:
    """One sample as HTML."""
    sign, word = VERDICTS[made.verdict]
    answer = f"<bdi>{esc(shorten(made.answer, ANSWER_CHARS))}</bdi>" if made.answer is not None else ""
    cut = '<span class="warn">truncated</span>' if made.truncated else ""
    return (
        f'<details class="candidate trace"><summary><span class="index">{esc(shorten(made.sample_id, ANSWER_CHARS))}</span>'
        f'<span class="verdict {made.verdict}"><span class="sign" aria-hidden="true">{sign}</span> {word}</span>'
        f'<span class="answer">{answer}</span>{cut}<small>{esc(made.counts)}</small></summary>'
        f'<div class="body">{_error(made.error)}<div class="question">{_parts(made.problem)}</div>'
        f'<div class="traces"><div><p class="label">Model</p>{_parts(made.made)}</div>'
        f'<div><p class="label">Reference</p>{_parts(made.expected)}{_expected_answer(made.expected_answer)}</div></div>'
        f"{_scores(made)}</div></details>"
    )


def _error(error: str) -> str:
    return f'<p class="warn">Failed: {esc(shorten(error, _ERROR_CHARS))}</p>' if error else ""


def _parts(parts: Parts) -> str:
    return "".join(_text(part) if isinstance(part, str) else _picture(part) for part in parts) or '<p class="note">Nothing.</p>'


def _text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    more = len(text) - PROBLEM_CHARS
    cut = f'<p class="cut">{count(more)} characters are not shown here</p>' if more > 0 else ""
    return f'<div class="text" dir="auto" lang="">{esc(text[:PROBLEM_CHARS])}</div>{cut}'


def _picture(picture: Picture) -> str:
    name = esc(picture.name)
    if picture.source:
        shown = f'<img src="{esc(picture.source)}" alt="{name}" loading="lazy">'
    elif picture.link:
        shown = f'<a href="{esc(picture.link)}">{name}</a>'
    else:
        shown = f'<span class="warn">{esc(picture.note)}</span>'
    return f'<figure class="drawn">{shown}<figcaption>{name}</figcaption></figure>'


def _expected_answer(answer: str | None) -> str:
    shown = "none given" if answer is None else f"<bdi>{esc(shorten(answer, 4 * ANSWER_CHARS))}</bdi>"
    return f'<p class="reference"><span class="label">Answer</span> {shown}</p>'


def _scores(made: Card) -> str:
    items = "".join(
        f"<div><dt>{esc(name)}</dt><dd>{NOTHING if value is None else number(value)}</dd></div>"
        for name, value in (made.scores or {}).items()
    )
    notes = "".join(f'<p class="note">{esc(line)}</p>' for line in made.notes)
    return (f'<dl class="scores">{items}</dl>' if items else "") + notes
