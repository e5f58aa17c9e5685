"""The page on interleaved reasoning: the metrics over all samples, then each sample as a card, which can be filtered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tamis.store.files import write_atomically
from tamis.view.candidates import VERDICTS
from tamis.view.report import facts_list, page, warnings_list
from tamis.view.text import count, esc
from tamis.view.trace_card import TRUNCATED, Card, card, kinds_of

METRIC_NAMES = {
    "answer_accuracy": "answer accuracy",
    "step_count_accuracy": "step count accuracy",
    "step_count_difference": "pictures drawn - expected",
    "bleu": "BLEU (0-100)",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bert_score": "BERTScore",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "fid": "FID",
    "kid": "KID",
}
"""What readers know the metrics as."""

KINDS = {**{kind: word for kind, (_, word) in VERDICTS.items()}, TRUNCATED: TRUNCATED}
"""What cards can be filtered by, in the order shown, and the word for it."""

_GUIDE = "Each shows the problem, then what the model wrote and drew beside what was expected."


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A line of the table: a metric over all samples, as text."""

    name: str
    value: str
    interval: str
    num: str
    unscored: str


@dataclass(slots=True)
class Cards:
    """Samples as HTML, and how many there are of each kind."""

    shown: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.shown)

    def add(self, made: Card) -> None:
        """Take in the next sample."""
        self.shown.append(card(made))
        self.kinds.update(kinds_of(made.verdict, made.truncated))


def counts_of(kinds: Mapping[str, int]) -> str:
    """How many of each kind, in words: `3 wrong, 1 failed; 2 truncated`."""
    verdicts = ", ".join(f"{count(kinds[kind])} {KINDS[kind]}" for kind in VERDICTS if kinds.get(kind))
    return f"{verdicts}; {count(kinds[TRUNCATED])} {TRUNCATED}" if kinds.get(TRUNCATED) else verdicts


def write_gallery(
    path: Path,
    title: str,
    facts: Mapping[str, str],
    metrics: Sequence[MetricLine],
    cards: Cards,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the page; an older file is replaced in one step.

    Args:
        path: The file.
        title: Its heading.
        facts: What the run was.
        metrics: The table.
        cards: The samples.
        warnings: Lines shown above the numbers.
        notes: Lines shown above the samples.

    Raises:
        OSError: The file cannot be written.
    """
    above = "".join(f'<p class="note">{esc(line)}</p>' for line in (_GUIDE, *notes))
    body = (
        f"<header><p class='brand'>Tamis</p><h1>{esc(title)}</h1>{facts_list(facts)}</header>"
        f"{warnings_list(warnings)}{_table(metrics)}"
        f'<section aria-labelledby="samples"><h2 id="samples">Samples</h2>{above if cards.shown else ""}'
        f'<div class="tools">{_filters(cards)}'
        '<button type="button" data-unfold aria-expanded="false">Unfold all</button></div>'
        f'<div class="candidates">{"".join(cards.shown) or _NO_SAMPLES}</div></section>'
    )
    write_atomically(path, [page(title, body).encode("utf-8")])


_NO_SAMPLES = '<p class="note">No samples.</p>'


def _table(metrics: Sequence[MetricLine]) -> str:
    heads = "".join(f'<th scope="col" class="num">{name}</th>' for name in ("Value", "95 % interval", "Samples"))
    return (
        '<section aria-labelledby="metrics"><h2 id="metrics">Metrics</h2><div class="scroll"><table class="metrics">'
        "<caption>Failed samples have no part in any of them.</caption>"
        f'<thead><tr><th scope="col">Metric</th>{heads}</tr></thead><tbody>{"".join(map(_row, metrics))}</tbody></table></div>'
        "</section>"
    )


def _row(line: MetricLine) -> str:
    """A line of the table; one without a value has room for the reason."""
    reason = f"<small>{'not scored' if line.value else 'no value'}: {esc(line.unscored)}</small>" if line.unscored else ""
    if not line.value:
        return f'<tr class="baseline"><th scope="row" colspan="4">{esc(line.name)}{reason}</th></tr>'
    cells = "".join(f'<td class="num">{esc(cell)}</td>' for cell in (line.value, line.interval, line.num))
    return f'<tr><th scope="row">{esc(line.name)}{reason}</th>{cells}</tr>'


def _filters(cards: Cards) -> str:
    """A button for all samples and one for each kind that occurs, where there are several."""
    found = {kind: cards.kinds[kind] for kind in KINDS if cards.kinds[kind]}
    if len(found) < 2:
        return ""
    rest = "".join(_filter(kind, KINDS[kind], num, is_pressed=False) for kind, num in found.items())
    return f'<div class="filters" role="group" aria-label="Show">{_filter("", "all", len(cards), is_pressed=True)}{rest}</div>'


def _filter(kind: str, word: str, num: int, *, is_pressed: bool) -> str:
    pressed = "true" if is_pressed else "false"
    return f'<button type="button" data-only="{kind}" aria-pressed="{pressed}">{word} <small>{count(num)}</small></button>'
