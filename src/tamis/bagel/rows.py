"""A row on its way: its three contexts, and how texts and pictures are read into them.

    seen    everything, pictures only as they are seen; texts are drawn from it
    full    everything, drawn pictures (and those of the problem, if asked) as latents too; pictures are drawn from it
    words   the texts alone, against which the guidance by pictures measures

`full` and `words` are made when the first picture is called for, and begin as what they share with `seen`. From then on each
grows by what is new, and no context is ever read again from its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tamis.bagel.attention import Pack
from tamis.bagel.cache import Context, Piece
from tamis.bagel.chance import Chance
from tamis.bagel.flow import Canvas
from tamis.bagel.model import MARKS, Model
from tamis.bagel.settings import Interleaving, Puzzle, Thought
from tamis.engines.pictures import open_picture
from tamis.engines.token_stats import STATE, statistics
from tamis.errors import InputError
from tamis.records import TokenStats


@dataclass(slots=True, eq=False)
class Row:
    """One puzzle in one slot."""

    puzzle: Puzzle
    chance: Chance
    seen: Context
    full: Context
    words: Context
    size: tuple[int, int]  # of the next picture
    token: int  # to be fed next
    items: list[list[int] | Image.Image] = field(default_factory=list)  # what was given: wrapped ids, resized pictures
    before_pictures: tuple[int, int] = (0, 0)  # mark of `seen` where the first picture began, or at the end of what was given
    given: tuple[int, int] = (0, 0)  # mark of `seen` where all was read that was given
    before_text: tuple[int, int] = (0, 0)  # mark of `seen` where the text that is being written began
    ids: list[int] = field(default_factory=list)  # of that text
    states: list[NDArray[np.float32]] = field(default_factory=list)
    parts: list[Thought | Image.Image] = field(default_factory=list)
    num_drawn: int = 0
    is_answering: bool = False  # the model's own sign has been read: this text is the last
    is_closed: bool = False  # the text is done and its end has been read: a picture is owed
    started: float = field(default_factory=time.perf_counter)

    def begin_text(self, token: int) -> None:
        """Write a new text, which begins with a mark."""
        self.token = token
        self.before_text = self.seen.mark
        self.ids, self.states = [], []
        self.is_closed = False

    def end_text(self, model: Model) -> str:
        """Take the text that was written to the parts."""
        text, starts = model.words.detokenizer.text_and_starts(self.ids)
        states = np.stack(self.states) if self.states else np.empty((0, STATE), dtype=np.float32)
        stats = TokenStats(statistics(states), np.array(self.ids, dtype=np.int32), starts, model.shape.language.vocab_size)
        self.parts.append(Thought(text, stats))
        return text

    def canvas(self) -> Canvas:
        """Where its next picture is drawn."""
        return Canvas(self.size, self.full, self.words)


class Reader:
    """Reads into the contexts of rows."""

    def __init__(self, model: Model, settings: Interleaving) -> None:
        self._model = model
        self._settings = settings
        self._system = [model.words.wrapped(settings.system_prompt)] if settings.system_prompt else []

    def begin(self, row: Row, sibling: Row | None) -> None:
        """Read what was given into `seen`, or take it over from a row that was given the same; begin the first text."""
        if sibling:
            row.items, row.size, row.before_pictures = sibling.items, sibling.size, sibling.before_pictures
            row.seen.begin_as(sibling.seen, sibling.given)
        else:
            self._read_given(row)
        row.given = row.seen.mark
        row.begin_text(self._model.words.text_start)

    def _read_given(self, row: Row) -> None:
        model = self._model
        row.items = [*self._system]
        for given in row.puzzle.items:
            row.items.append(model.words.wrapped(given) if isinstance(given, str) else self._resized(given))
        pictures = [item for item in row.items if not isinstance(item, list)]
        needed, limit = sum(len(i) if isinstance(i, list) else 1 for i in row.items), model.shape.language.context
        if needed >= limit:
            raise InputError(f"the problem takes {needed} positions, and the model has {limit}", "Shorten it")
        if pictures:
            row.size = pictures[-1].size
        row.before_pictures = (-1, -1)
        for item in row.items:
            if isinstance(item, list):
                self._read([row.seen.text(len(item))], [model.text_tokens(item)])
            else:
                if row.before_pictures[0] < 0:
                    row.before_pictures = row.seen.mark
                tokens = model.seen(item)
                self._read([row.seen.picture(len(tokens))], [tokens])
        if row.before_pictures[0] < 0:
            row.before_pictures = row.seen.mark

    def prepare(self, rows: Sequence[Row]) -> None:
        """Make rows ready to draw: a room for the picture, and behind it the text that calls for it."""
        model = self._model
        pieces: list[Piece] = []
        tokens: list[Tensor] = []
        for row in rows:
            if not row.num_drawn:
                self._fork(row)
            height, width = model.latent_grid(row.size)
            row.full.make_room(height * width + MARKS)
            ids = [model.words.text_start, *row.ids, model.words.text_end]
            pieces += [row.full.text(len(ids)), row.words.text(len(ids))]
            tokens += [model.text_tokens(ids)] * 2
        self._read(pieces, tokens)

    def take(self, rows: Sequence[Row], pictures: Sequence[Image.Image]) -> None:
        """Read the pictures that rows have drawn, and begin their next texts."""
        model = self._model
        clean = [self._latent_tokens(row, picture, self._index(row)) for row, picture in zip(rows, pictures, strict=True)]
        self._read([row.full.picture(len(each), latents=True) for row, each in zip(rows, clean, strict=True)], clean)
        views = [model.seen(picture) for picture in pictures]
        pieces = [c.picture(len(each)) for row, each in zip(rows, views, strict=True) for c in (row.full, row.seen)]
        self._read(pieces, [each for each in views for _ in range(2)])
        for row, picture in zip(rows, pictures, strict=True):
            row.parts.append(picture)
            row.num_drawn += 1
            row.begin_text(model.words.text_start)

    def _fork(self, row: Row) -> None:
        """Make `full` and `words` of what they share with `seen`, and read into them what they do not share."""
        model = self._model
        given = [not isinstance(item, list) for item in row.items]
        first = given.index(True) if any(given) else len(given)
        row.words.begin_as(row.seen, row.before_pictures)
        for item in row.items[first:]:
            if isinstance(item, list):
                self._read([row.words.text(len(item))], [model.text_tokens(item)])
        if not self._settings.problem_latents:
            row.full.begin_as(row.seen, row.before_text)
            return
        row.full.begin_as(row.seen, row.before_pictures)
        index = 0
        for item in row.items[first:]:
            if isinstance(item, list):
                self._read([row.full.text(len(item))], [model.text_tokens(item)])
                continue
            tokens = self._latent_tokens(row, item, index)
            self._read([row.full.picture(len(tokens), latents=True)], [tokens])
            tokens = model.seen(item)
            self._read([row.full.picture(len(tokens))], [tokens])
            index += 1

    def _resized(self, given: Path | Image.Image) -> Image.Image:
        return self._model.resized(open_picture(str(given)) if isinstance(given, Path) else given)

    def _index(self, row: Row) -> int:
        """Which of the row's pictures, given ones first, the one is that has just been drawn."""
        return sum(not isinstance(item, list) for item in row.items) + row.num_drawn

    def _latent_tokens(self, row: Row, picture: Image.Image, index: int) -> Tensor:
        noise = None
        if self._settings.sampled_latents:
            shape = self._model.shape.autoencoder
            size = (picture.height // shape.downsample, picture.width // shape.downsample)
            noise = row.chance.noise("reading", index, (shape.latent_channels, *size))
        return self._model.drawn(self._model.latents_of(picture, noise), picture.size)

    def _read(self, pieces: Sequence[Piece], tokens: Sequence[Tensor]) -> None:
        self._model.read(Pack(pieces, self._model.device), torch.cat(list(tokens)))
