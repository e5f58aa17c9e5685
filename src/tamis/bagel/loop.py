"""Interleaved reasoning over many rows: all write until none writes any more, then all draw; who is done is replaced.

A step of writing costs a pass over the weights whether one row writes or eight, so rows are kept together in it; drawing
fills the machine with one picture, and packs are as large as memory allows.

What a row gives does not depend on the others: its numbers and noise come from its seed, its attention runs over its own
columns, and the linear layers see at least so many rows that their results agree (see `attention`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from tamis.bagel.attention import Step
from tamis.bagel.cache import Context
from tamis.bagel.chance import Chance
from tamis.bagel.flow import Branches, draw
from tamis.bagel.model import Model
from tamis.bagel.rows import Reader, Row
from tamis.bagel.settings import Ending, Interleaving, Puzzle, Solution
from tamis.engines.hf.sampler import Sampler
from tamis.errors import EngineError, InputError, UsageError
from tamis.records import Failure, Sampling

ANSWER_MARKS = ("Final Answer:", "<answer>")
_SIDE = 1024  # of a picture for which nobody has said a size


def interleave(
    model: Model, puzzles: Iterable[Puzzle], settings: Interleaving, *, chance: Callable[[int], Chance] = Chance
) -> Iterator[Solution]:
    """Solve puzzles, read lazily, as they finish; `chance` makes of a row's seed where its luck comes from.

    A row that fails is a solution with an error, and the others go on.

    Raises:
        UsageError: A setting cannot be, with this model.
        EngineError: Memory ran out.
    """
    check(model, settings)
    return _Loop(model, settings, chance).run(iter(puzzles))


def check(model: Model, settings: Interleaving) -> None:
    """Refuse settings that cannot be with this model.

    Raises:
        UsageError: With the setting and its value.
    """
    settings.check()
    stride, most = model.shape.latent_stride, model.shape.latent_stride * model.shape.latent_side
    if settings.size and any(side % stride or side > most for side in settings.size):
        raise UsageError(f"size: {settings.size} cannot be drawn", f"Use multiples of {stride} up to {most}")


class _Loop:
    def __init__(self, model: Model, settings: Interleaving, chance: Callable[[int], Chance]) -> None:
        self._model = model
        self._settings = settings
        self._chance = chance
        self._reader = Reader(model, settings)
        side = min(_SIDE // model.shape.latent_stride, model.shape.latent_side) * model.shape.latent_stride
        self._size = settings.size or (side, side)
        self._rows: list[Row | None] = [None] * settings.batch_size
        self._caches = [model.new_cache(settings.batch_size) for _ in range(3)]  # seen, full, words
        self._sampler = Sampler(settings.batch_size)
        for slot in range(settings.batch_size):
            self._sampler.set(slot, Sampling(temperature=settings.temperature))
        self._done: deque[Solution] = deque()

    @torch.inference_mode()
    def run(self, puzzles: Iterator[Puzzle]) -> Iterator[Solution]:
        """Go on until every puzzle is done."""
        more = True
        while more or any(self._rows):
            try:
                more = self._admit(puzzles)
                rows = [row for row in self._rows if row]
                if any(not row.is_closed for row in rows):
                    self._write()
                elif rows:
                    self._draw(rows)
            except torch.OutOfMemoryError as error:
                size = self._settings.batch_size
                raise EngineError(f"out of memory with {size} rows at a time", "Choose a smaller batch size") from error
            while self._done:
                yield self._done.popleft()

    # --- who is in ------------------------------------------------------------------------------------------------

    def _admit(self, puzzles: Iterator[Puzzle]) -> bool:
        """Fill the free slots, once each; whether there may be more puzzles."""
        for slot, row in enumerate(self._rows):
            if row is None:
                if (puzzle := next(puzzles, None)) is None:
                    return False
                self._seat(slot, puzzle)
        return True

    def _seat(self, slot: int, puzzle: Puzzle) -> None:
        """Read a puzzle into a slot."""
        seen, full, words = (Context(cache, slot) for cache in self._caches)
        row = Row(puzzle, self._chance(puzzle.seed), seen, full, words, self._size, self._model.words.text_start)
        self._rows[slot] = row
        try:
            self._reader.begin(row)
        except (InputError, OSError, ValueError, SyntaxError) as error:  # what Pillow raises for a torn picture
            self._fail(row, "input", str(error))

    def _leave(self, row: Row, ending: Ending, error: Failure | None = None) -> None:
        self._rows[row.seen.slot] = None
        seconds = time.perf_counter() - row.started
        self._done.append(Solution(row.puzzle.id, tuple(row.parts), ending, error, seconds))

    def _fail(self, row: Row, boundary: str, message: str) -> None:
        for context in (row.seen, row.full, row.words):
            context.wipe()
        self._leave(row, "error", Failure(boundary, message))

    # --- texts ----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """One token of every row that writes."""
        slots = np.array([slot for slot, row in enumerate(self._rows) if row and not row.is_closed])
        logits = self._forward()[torch.from_numpy(slots).to(self._model.device)]
        writing = [row for row in self._rows if row and not row.is_closed]
        end = self._model.words.text_end
        numbers = np.array([0.0 if row.token == end else row.chance.number() for row in writing])
        drawn, totals, states = self._sampler.draw(logits, slots, numbers, states=True)
        assert states is not None
        is_whole = np.isfinite(totals.cpu().numpy())
        for index, (row, token) in enumerate(zip(writing, drawn.tolist(), strict=True)):
            row.seen.advance(1)
            if not is_whole[index]:
                self._fail(row, "engine", "the model gave logits that are not numbers (NaN or infinite)")
            elif row.token == end:
                self._close(row, logits[index])
            elif token == end:
                row.token = token
                self._finish_text(row)
            else:
                row.token = token
                row.ids.append(token)
                row.states.append(states[index])
                if len(row.ids) >= self._settings.max_tokens or row.seen.position >= self._model.shape.language.context:
                    row.end_text(self._model)
                    self._leave(row, "length")

    def _forward(self) -> Tensor:
        """The logits (slots, V) after the tokens that all rows feed; slots that do not write are fed something."""
        device = self._model.device
        rows = self._rows
        columns = torch.tensor([row.seen.length if row else 0 for row in rows])
        positions = torch.tensor([row.seen.position if row else 0 for row in rows])
        ids = torch.tensor([row.token if row else 0 for row in rows])
        num_columns = max(row.seen.length for row in rows if row and not row.is_closed) + 1
        self._caches[0].reserve(int(columns.max()) + 1)
        step = Step(self._caches[0], columns.to(device), positions.to(device), num_columns)
        return self._model.step(step, ids.to(device))

    def _finish_text(self, row: Row) -> None:
        """The end mark was drawn: is it the answer? If not, the mark is read next."""
        text = row.end_text(self._model)
        if not row.ids:
            self._leave(row, "empty")
        elif self._settings.stop_rule != "signal" and any(mark in text for mark in ANSWER_MARKS):
            self._leave(row, "stop")

    def _close(self, row: Row, logits: Tensor) -> None:
        """The end mark was read: what would the model begin now, an answer or a picture?"""
        words = self._model.words
        row.is_closed = True
        if self._settings.stop_rule != "answer" and bool(logits[words.text_start] > logits[words.picture_start]):
            self._leave(row, "stop")
        elif row.num_drawn >= self._settings.max_iterations:
            self._leave(row, "iterations")

    # --- pictures -------------------------------------------------------------------------------------------------

    def _draw(self, rows: list[Row]) -> None:
        """The next picture of every row, in packs."""
        self._reader.prepare(rows)
        branches = Branches.needed(self._settings.guidance)
        num_branches = 1 + branches.text + branches.image
        pack: list[Row] = []
        num_tokens = 0
        for row in rows:
            needed = num_branches * self._num_latents(row)
            if pack and num_tokens + needed > self._settings.pack_tokens:
                self._draw_pack(pack)
                pack, num_tokens = [], 0
            pack.append(row)
            num_tokens += needed
        self._draw_pack(pack)

    def _draw_pack(self, rows: list[Row]) -> None:
        """Draw the pictures of these rows together, in halves where memory does not hold them all, and read them."""
        model = self._model
        noise = [row.chance.noise("picture", row.num_drawn, (self._num_latents(row), model.shape.latent_width)) for row in rows]
        try:
            latents = draw(model, [row.canvas() for row in rows], noise, self._settings)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            self._draw_pack(rows[: len(rows) // 2])
            self._draw_pack(rows[len(rows) // 2 :])
            return
        drawn: list[Row] = []
        pictures = []
        for row, each in zip(rows, latents, strict=True):
            if bool(each.isfinite().all()):
                drawn.append(row)
                pictures.append(model.picture(each, row.size))
            else:
                self._fail(row, "engine", "the model drew numbers that are not finite")
        if drawn:
            self._reader.take(drawn, pictures)

    def _num_latents(self, row: Row) -> int:
        height, width = self._model.latent_grid(row.size)
        return height * width
