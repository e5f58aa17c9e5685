"""A sample's text with its tokens coloured by confidence, in few bytes.

Neighbouring tokens of one colour share one element; the four numbers that a tooltip shows are packed, ten characters a
token, into one attribute of the block, and page.js finds the token under the pointer by its place in the text.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.errors import UsageError
from tamis.records import Sample, TokenStats
from tamis.score import tokens
from tamis.view.text import clean, count, esc, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_CLASSES = 7  # 0 is the most certain and carries no colour; u1 ... u6 in page.css
HEAD_CHARS, TAIL_CHARS = 6_000, 3_000  # what is shown of a longer text
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
UNKNOWN = 64 * 64 - 1
STEPS = (-0.005, 0.005, 0.01, 1 / 4000)  # of logp, entropy, self-certainty (nats) and p1; page.js undoes them


TOKEN_CONFIDENCE: Mapping[str, Callable[[TokenStats], NDArray[np.float64]]] = {
    "mean-self-certainty": tokens.self_certainty,
    "neg-entropy": lambda stats: -tokens.entropy(stats),
    "logprob": tokens.logp,
    "max-prob": tokens.max_prob,
    "margin": tokens.margin,
    "gini": tokens.gini,
    "deepconf": tokens.confidence,
}
"""What tokens can be coloured by: the name of the score whose mean it is -> one value a token, higher is more certain."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Seven equal steps from the 5th to the 95th percentile of all tokens shown; what lies beyond joins the last step."""

    name: str
    low: float
    high: float

    @staticmethod
    def fit(name: str, samples: Iterable[Sample]) -> Scale | None:
        """The scale of one report, or None when no sample has statistics.

        Raises:
            UsageError: tokens cannot be coloured by `name`.
        """
        if name not in TOKEN_CONFIDENCE:
            raise UsageError(f"tokens cannot be coloured by {name!r}", f"Use one of: {', '.join(TOKEN_CONFIDENCE)}")
        values = [TOKEN_CONFIDENCE[name](sample.stats) for sample in samples if sample.stats is not None]
        known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
        if not len(known):
            return None
        low, high = np.percentile(known, (5, 95))
        return Scale(name, float(low), float(high))

    def confidence(self, stats: TokenStats) -> NDArray[np.float64]:
        """The value of each token (T,); one that is not a number counts as certain, for it says nothing."""
        values = TOKEN_CONFIDENCE[self.name](stats)
        return np.where(np.isnan(values), np.inf, values)

    def uncertainty(self, stats: TokenStats) -> NDArray[np.int64]:
        """The colour class of each token (T,): 0 the most certain, 6 the least."""
        if self.high <= self.low:
            return np.zeros(len(stats), dtype=np.int64)
        inside = np.clip(self.confidence(stats), self.low, self.high)
        share = (self.high - inside) / (self.high - self.low)
        return np.minimum(np.floor(share * NUM_CLASSES), NUM_CLASSES - 1).astype(np.int64)

    def legend(self) -> str:
        """The colours, from certain to uncertain, between their numbers."""
        steps = "".join(f'<b class="u{step}">\N{NO-BREAK SPACE}</b>' for step in range(NUM_CLASSES))
        return (
            f'<p class="scale"><span>certain <small>≥ {number(self.high)}</small></span>'
            f'<span class="steps" aria-hidden="true">{steps}</span>'
            f"<span>uncertain <small>≤ {number(self.low)}</small></span><small>{esc(self.name)}</small></p>"
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """The characters that one token (or the tokens of one character) gave, already cleaned."""

    text: str
    shade: int
    packed: str


def token_text(sample: Sample, scale: Scale | None) -> str:
    """The text of a sample, coloured when it has statistics; the middle of a very long one is left out, and says so."""
    size = len(sample.text)
    if size <= HEAD_CHARS + TAIL_CHARS:
        return _block(sample, scale, 0, size)
    left_out = f'<p class="cut">{count(size - HEAD_CHARS - TAIL_CHARS)} characters are not shown here</p>'
    return _block(sample, scale, 0, HEAD_CHARS) + left_out + _block(sample, scale, size - TAIL_CHARS, size)


def _block(sample: Sample, scale: Scale | None, begin: int, end: int) -> str:
    if scale is None or sample.stats is None or not len(sample.stats):
        return f'<div class="text" dir="auto" lang="">{esc(sample.text[begin:end])}</div>'
    pieces = list(_pieces(sample.text, sample.stats, scale, begin, end))
    parts = []
    for shade, run in itertools.groupby(pieces, key=lambda piece: piece.shade):
        content = html.escape("".join(piece.text for piece in run))
        parts.append(content if shade == 0 else f"<b class=u{shade}>{content}</b>")
    return (
        '<div class="text tokens" dir="auto" lang="" tabindex="0" role="group"'
        f' aria-label="Answer; arrow keys step through its tokens" data-t="{"".join(piece.packed for piece in pieces)}">'
        f"{''.join(parts)}</div>"
    )


def _pieces(text: str, stats: TokenStats, scale: Scale, begin: int, end: int) -> Iterator[_Piece]:
    """The text from `begin` to `end` in pieces; tokens that share a character are one piece, shown as the least certain."""
    starts = np.clip(np.maximum.accumulate(stats.starts), 0, len(text))
    confidence, shades = scale.confidence(stats), scale.uncertainty(stats)
    columns = [tokens.logp(stats), tokens.entropy(stats), tokens.self_certainty(stats), tokens.max_prob(stats)]
    bounds, first = np.unique(starts, return_index=True)
    if before := clean(text[begin : min(end, int(bounds[0]))]):  # characters that no token gave
        yield _Piece(before, 0, _pack(before, [UNKNOWN] * 4))
    for start, stop, i, j in zip(bounds, [*bounds[1:], len(text)], first, [*first[1:], len(starts)], strict=True):
        shown = clean(text[max(begin, int(start)) : min(end, int(stop))])
        if shown:
            token = i + int(np.argmin(confidence[i:j]))
            codes = [_code(column[token], step) for column, step in zip(columns, STEPS, strict=True)]
            yield _Piece(shown, int(shades[token]), _pack(shown, codes))


def _code(value: float, step: float) -> int:
    return min(UNKNOWN - 1, max(0, round(value / step))) if math.isfinite(value) else UNKNOWN


def _pack(shown: str, codes: list[int]) -> str:
    """Ten characters: the length in UTF-16 units, as a browser counts, and four numbers; two digits of base 64 each."""
    length = len(shown.encode("utf-16-le")) // 2
    numbers = "".join(_two(code) for code in codes)
    whole, rest = divmod(length, UNKNOWN)  # more than two digits can say: several entries with the same numbers
    return (_two(UNKNOWN) + numbers) * whole + (_two(rest) + numbers if rest else "")


def _two(code: int) -> str:
    return DIGITS[code // 64] + DIGITS[code % 64]
