"""Whole traces as the unified model is trained on them: every text and picture of a trace in one forward pass.

The loop of `tamis.bagel` grows three contexts; a line holds all of one of them at once, with a mask that lets every token see
what it would see there:

    seen    texts and pictures as they are seen; the texts' tokens are learnt
    full    drawn pictures as latents too; before each its noisy self, which nothing else sees, and whose velocity is learnt
    words   the same without any picture that is seen or clean; `bare` is `full` with each last text hidden
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tamis.bagel.model import Weights
from tamis.bagel.words import Words

LineKind = Literal["seen", "full", "bare", "words"]
PartKind = Literal["text", "seen", "clean", "noisy"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is given, texts and then a picture, and what follows: thoughts, with a picture after each but the last.

    Pictures are numbered in the batch: `first` is the given one, the drawn ones follow.
    """

    given: tuple[str, ...]
    thoughts: tuple[str, ...]
    first: int


@dataclass(slots=True)
class Part:
    """Tokens of a line that belong together."""

    kind: PartKind
    ids: list[int]  # of a picture its two marks
    position: int
    picture: int = -1
    is_learnt: bool = False
    hidden: int = -1  # the part that a noisy picture does not see


@dataclass(slots=True)
class Line:
    """Parts in order."""

    parts: list[Part] = field(default_factory=list)
    position: int = 0

    def text(self, ids: list[int], *, is_learnt: bool = False) -> None:
        """Append a text."""
        self.parts.append(Part("text", ids, self.position, is_learnt=is_learnt))
        self.position += len(ids)

    def picture(self, kind: PartKind, marks: list[int], picture: int) -> None:
        """Append a picture that stays."""
        self.parts.append(Part(kind, marks, self.position, picture))
        self.position += 1

    def noisy(self, marks: list[int], picture: int, *, without_text: bool) -> None:
        """Append a picture that is being drawn."""
        last = self.parts[-1]
        position = last.position if without_text else self.position
        self.parts.append(Part("noisy", marks, position, picture, hidden=len(self.parts) - 1 if without_text else -1))


def line_of(trace: Trace, kind: LineKind, words: Words) -> Line:
    """One of the contexts of a trace, whole."""
    line = Line()
    marks = [words.picture_start, words.picture_end]
    for text in trace.given:
        line.text(words.wrapped(text))
    if kind != "words":
        line.picture("seen", marks, trace.first)
    *steps, last = trace.thoughts
    for number, step in enumerate(steps, 1):
        line.text(words.wrapped(step), is_learnt=kind == "seen")
        if kind != "seen":
            line.noisy(marks, trace.first + number, without_text=kind == "bare")
            if number == len(steps):
                break
        if kind in ("full", "bare"):
            line.picture("clean", marks, trace.first + number)
        if kind != "words":
            line.picture("seen", marks, trace.first + number)
    if kind == "seen":
        line.text(words.wrapped(last), is_learnt=True)
    return line


@dataclass(slots=True)
class _Rows:
    """The rows of a batch as they are found: where each token lies in the padded lines, and its rotary position."""

    plain: list[tuple[int, int]] = field(default_factory=list)
    latent: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)  # of the plain ones
    seen: list[int] = field(default_factory=list)  # plain rows that are no ids but patches
    drawn: dict[PartKind, list[range]] = field(default_factory=lambda: {"noisy": [], "clean": []})
    pictures: dict[PartKind, list[int]] = field(default_factory=lambda: {"seen": [], "noisy": [], "clean": []})
    asked: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def text(self, part: Part, places: range, after: int) -> None:
        """Take in a text, `after` which a mark follows."""
        if part.is_learnt:
            self.asked += range(len(self.ids), len(self.ids) + len(part.ids))
            self.told += [*part.ids[1:], after]
        self.plain += [(place, part.position + offset) for offset, place in enumerate(places)]
        self.ids += part.ids

    def picture(self, part: Part, places: range) -> None:
        """Take in a picture."""
        first, *inner, last = [(place, part.position) for place in places]
        self.pictures[part.kind].append(part.picture)
        if part.kind == "seen":
            self.seen += range(len(self.ids) + 1, len(self.ids) + 1 + len(inner))
            self.plain += [first, *inner, last]
            self.ids += [part.ids[0], *[0] * len(inner), part.ids[1]]
        else:
            self.drawn[part.kind].append(range(len(self.latent), len(self.latent) + len(inner)))
            self.plain += [first, last]
            self.latent += inner
            self.ids += part.ids


class Packed:
    """Lines as rows of the transformer, plain ones first (see `tamis.bagel.transformer.Attend`).

    Attributes:
        asked, told: Plain rows whose next token is learnt, and that token.
        noisy, clean: The latent rows of each picture (P, N) that is drawn, or was.
        noisy_pictures, clean_pictures, seen_pictures: Which these are.
    """

    def __init__(self, lines: Sequence[Line], num_places: int, words: Words) -> None:
        """Lay lines out whose pictures have so many tokens, seen or as latents."""
        rows = _Rows()
        lengths = [[len(part.ids) + num_places * (part.kind != "text") for part in line.parts] for line in lines]
        self._size = len(lines), max(map(sum, lengths))
        self._mask = torch.zeros(len(lines), 1, self._size[1], self._size[1], dtype=torch.bool)
        for index, line in enumerate(lines):
            starts = [0, *accumulate(lengths[index])]
            spans = [slice(*ends) for ends in pairwise(starts)]
            for number, (part, span) in enumerate(zip(line.parts, spans, strict=True)):
                places = range(index * self._size[1] + span.start, index * self._size[1] + span.stop)
                if part.kind == "text":
                    is_last = number + 1 == len(line.parts)
                    rows.text(part, places, words.text_start if is_last else words.picture_start)
                else:
                    rows.picture(part, places)
            self._mask[index, 0] = _mask(line, spans, self._size[1])
        self.split = len(rows.plain)
        self._places, self.positions = torch.tensor(rows.plain + rows.latent).unbind(1)
        self.ids, self.asked, self.told = (torch.tensor(found) for found in (rows.ids, rows.asked, rows.told))
        self.seen_rows = torch.tensor(rows.seen, dtype=torch.long)
        self.noisy, self.clean = (
            torch.tensor([list(each) for each in rows.drawn[kind]], dtype=torch.long).reshape(-1, num_places)
            for kind in ("noisy", "clean")
        )
        self.noisy_pictures, self.clean_pictures = rows.pictures["noisy"], rows.pictures["clean"]
        self.seen_pictures = rows.pictures["seen"]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # noqa: ARG002 - as of `Attend`
        """What queries see, line by line."""
        groups = q.shape[1] // k.shape[1]
        q, k, v = (self._padded(x) for x in (q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)))
        seen = scaled_dot_product_attention(q, k, v, attn_mask=self._mask)  # (B, H, T, D)
        return seen.transpose(1, 2).flatten(0, 1)[self._places]

    def _padded(self, rows: Tensor) -> Tensor:
        tokens = rows.new_zeros(math.prod(self._size), *rows.shape[1:]).index_copy(0, self._places, rows)
        return tokens.reshape(*self._size, *rows.shape[1:]).transpose(1, 2)


def _mask(line: Line, spans: Sequence[slice], length: int) -> Tensor:
    """What each token of a line sees (length, length)."""
    mask = torch.zeros(length, length, dtype=torch.bool)
    for part, span in zip(line.parts, spans, strict=True):
        own = mask[span]
        own[:, : span.start] = True
        for number, (other, columns) in enumerate(zip(line.parts, spans, strict=True)):
            if other.kind == "noisy" or number == part.hidden:
                own[:, columns] = False
        own[:, span] = True
        if part.kind == "text":
            own[:, span] = own[:, span].tril()
    mask[spans[-1].stop :, 0] = True  # what pads a line must see something
    return mask


def forward(
    weights: Weights, packed: Packed, seen: Tensor, noisy: Tensor, times: Tensor, clean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (asked, V); velocities (P, N, c) of the noisy latents (P, N, c) at their times (P,), and what they are read from.

    `seen` holds the features of every picture of the batch (pictures, N, d), `clean` the clean latents of those that
    appear so (Q, N, c). Pictures fill the tables of positions.
    """
    plain = weights.language_model.model.embed_tokens(packed.ids)
    plain = plain.index_copy(0, packed.seen_rows, seen[packed.seen_pictures].flatten(0, 1))
    moments = weights.time_embedder(torch.cat([times, times.new_zeros(1)]))
    at = torch.cat([moments[:-1], moments[-1:].expand(len(clean), -1)])
    latents = weights.vae2llm(torch.cat([noisy, clean])) + at[:, None] + weights.latent_pos_embed.pos_embed
    places = torch.cat([packed.noisy, packed.clean]).flatten()
    rows = latents.new_empty(len(places), plain.shape[1]).index_copy(0, places, latents.flatten(0, 1))
    hidden = weights.language_model.model(torch.cat([plain, rows]), packed)
    logits: Tensor = weights.language_model.lm_head(hidden[packed.asked])
    drawn: Tensor = hidden[packed.split + packed.noisy]  # (P, N, d)
    return logits, weights.llm2vae(drawn), drawn


def features(weights: Weights, patches: Tensor) -> Tensor:
    """What is seen of pictures given as patches (pictures, N, p p 3), as tokens (pictures, N, d)."""
    places = torch.arange(patches.shape[1])
    found: Tensor = weights.connector(weights.vit_model(patches, places)) + weights.vit_pos_embed.pos_embed
    return found
