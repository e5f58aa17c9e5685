"""Interleaved reasoning over many rows: all write until none writes any more, then all draw; who is done is replaced.

A step of writing costs a pass over the weights whether one row writes or eight, so rows are kept together in it; drawing
fills the machine with one picture, and packs are as large as memory allows.

What a row gives does not depend on the others: its numbers and noise come from its seed, its attention runs over its own
columns, and the linear layers see a number of rows on which their results do not hang (see `padding`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from tamis.bagel.attention import Step
from tamis.bagel.chance import Chance
from tamis.bagel.checkpoint import check_with_model
from tamis.bagel.flow import Branches, draw
from tamis.bagel.model import Model
from tamis.bagel.rows import Reader, Row
from tamis.bagel.settings import Ending, Interleaving, Puzzle, Solution, Thought
from tamis.bagel.slots import Slots
from tamis.engines.device import is_out_of_memory
from tamis.errors import InputError
from tamis.records import Failure

ANSWER_MARKS = ("Final Answer:", "<answer>")
_SIDE = 1024  # of a picture for which nobody has said a size


def interleave(
    model: Model,
    puzzles: Iterable[Puzzle],
    settings: Interleaving,
    *,
    drawn: Callable[[int], None] | None = None,
    chance: Callable[[int], Chance] = Chance,
) -> Iterator[Solution]:
    """Solve puzzles, read lazily, as they finish.

    A row that fails is a solution with an error, and the others go on; where memory runs out, with fewer at a time.

    Args:
        model: Whose numbers they are solved with.
        puzzles: The rows.
        settings: How.
        drawn: Told of pictures that have just been drawn, how many.
        chance: Makes of a row's seed where its luck comes from.

    Raises:
        UsageError: A setting cannot be, with this model.
    """
    check_with_model(settings, model.shape, model.latent_rule)
    return _Loop(model, settings, drawn, chance).run(iter(puzzles))


def _has_answer(text: str) -> bool:
    return any(mark in text for mark in ANSWER_MARKS)


class _Loop:
    def __init__(
        self, model: Model, settings: Interleaving, drawn: Callable[[int], None] | None, chance: Callable[[int], Chance]
    ) -> None:
        self._model = model
        self._settings = settings
        self._drawn = drawn
        self._chance = chance
        self._reader = Reader(model, settings)
        shape = model.shape
        side = min(_SIDE, model.latent_rule.longest, shape.latent_side * shape.latent_stride)
        side -= side % shape.latent_stride
        self._size = settings.size or (side, side)
        self._done: deque[Solution] = deque()
        self._slots = Slots(model, settings.batch_size, settings.temperature)

    @torch.inference_mode()
    def run(self, puzzles: Iterator[Puzzle]) -> Iterator[Solution]:
        """Go on until every puzzle is done."""
        while self._slots.admit(puzzles):
            fits = True
            try:
                self._advance()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                fits = False  # the error holds on to what the step had made, as long as it is at hand
            if not fits:
                self._go_on_with_fewer()
            while self._done:
                yield self._done.popleft()

    def _go_on_with_fewer(self) -> None:
        if row := self._slots.halve():
            self._leave(row, "error", Failure("engine", "out of memory with this row alone"))

    def _advance(self) -> None:
        while self._slots.admitted:
            self._seat(*self._slots.admitted.popleft())
        rows = [row for row in self._slots.rows if row]
        if any(not row.is_closed for row in rows):
            self._write()
        elif rows:
            self._draw(rows)

    # --- who is in ------------------------------------------------------------------------------------------------

    def _seat(self, slot: int, puzzle: Puzzle) -> None:
        """Read a puzzle into a slot."""
        contexts = self._slots.contexts(slot)
        row = Row(puzzle, self._chance(puzzle.seed), *contexts, self._size, self._model.words.text_start)
        self._slots.rows[slot] = row
        try:
            self._reader.begin(row, self._slots.sibling(row))
        except (InputError, OSError, ValueError, SyntaxError) as error:  # what Pillow raises for a torn picture
            self._fail(row, "input", str(error))

    def _leave(self, row: Row, ending: Ending, error: Failure | None = None) -> None:
        self._slots.rows[row.seen.slot] = None
        seconds = time.perf_counter() - row.started
        self._done.append(Solution(row.puzzle.id, tuple(row.parts), ending, error, seconds))

    def _fail(self, row: Row, boundary: str, message: str) -> None:
        for context in (row.seen, row.full, row.words):
            context.wipe()
        self._leave(row, "error", Failure(boundary, message))

    # --- texts ----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """One token of every row that writes."""
        slots = np.array([slot for slot, row in enumerate(self._slots.rows) if row and not row.is_closed])
        logits = self._forward()[torch.from_numpy(slots).to(self._model.device)]
        writing = [row for row in self._slots.rows if row and not row.is_closed]
        end = self._model.words.text_end
        numbers = np.array([0.0 if row.token == end else row.chance.number() for row in writing])
        drawn, totals, states = self._slots.sampler.draw(logits, slots, numbers, states=True)
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
        rows = self._slots.rows
        columns = torch.tensor([row.seen.length if row else 0 for row in rows])
        positions = torch.tensor([row.seen.position if row else 0 for row in rows])
        ids = torch.tensor([row.token if row else 0 for row in rows])
        num_columns = max(row.seen.length for row in rows if row and not row.is_closed) + 1
        self._slots.seen.reserve(int(columns.max()) + 1)
        step = Step(self._slots.seen, columns.to(device), positions.to(device), num_columns)
        return self._model.step(step, ids.to(device))

    def _finish_text(self, row: Row) -> None:
        """The end mark was drawn: was it the answer? If not, the mark is read next."""
        text = row.end_text(self._model)
        if not row.ids:
            self._leave(row, "empty")
        elif row.is_answering or (self._settings.stop_rule != "signal" and _has_answer(text)):
            self._leave(row, "stop")

    def _close(self, row: Row, logits: Tensor) -> None:
        """The end mark was read: what would the model begin now, an answer or a picture?"""
        words = self._model.words
        row.is_closed = True
        if self._settings.stop_rule != "answer" and bool(logits[words.text_start] > logits[words.picture_start]):
            self._answer(row)
        elif row.num_drawn >= self._settings.max_iterations:
            self._leave(row, "iterations")

    def _answer(self, row: Row) -> None:
        """After the sign the answer is a text of its own, unless it has been given."""
        thought = row.parts[-1]
        assert isinstance(thought, Thought)
        if _has_answer(thought.text):
            self._leave(row, "stop")
        else:
            row.is_answering = True
            row.begin_text(self._model.words.text_start)

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
        latents: list[Tensor] = []
        try:
            latents = draw(model, [row.canvas() for row in rows], noise, self._settings)
        except (RuntimeError, MemoryError) as error:
            if len(rows) == 1 or not is_out_of_memory(error):
                raise
        if not latents:  # no longer where the error is at hand, which holds on to what was made
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
            if self._drawn:
                self._drawn(len(drawn))

    def _num_latents(self, row: Row) -> int:
        height, width = self._model.latent_grid(row.size)
        return height * width
