"""Hidden states of a batch's rows, summed as they come: of the line that each row is writing, and of its steps (`step_sums`).

A step adds the states of all rows in one operation; only a row that has just ended a line has work of its own. Sums are fp64
on a CPU, fp32 elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.chains import chain_row, moves
from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.step_sums import Part, StepSums
from tamis.engines.hf.text import Detokenizer
from tamis.records import EmbeddingChain
from tamis.steps import split_steps, step_ids

CHUNK = 4  # sums reduced at a time; on a GPU always so many, for their bits must not depend on how many there are


@dataclass(slots=True, eq=False)
class RowSums:
    """What a row has of its own."""

    delay: int  # of how many of the newest tokens the states are held: a stop string may take them back
    steps: StepSums = field(default_factory=StepSums)
    held: deque[Tensor] = field(default_factory=deque)
    # Only while the row is out of the batch:
    line: Tensor | None = None  # the sum (L + 1, d) of the open line's tokens
    num_tokens: int = 0  # of the open line


class HiddenSums:
    """The sums of `num_rows` slots."""

    def __init__(self, num_rows: int, text: Detokenizer) -> None:
        self._text = text
        self._rows: list[RowSums | None] = [None] * num_rows
        self._lines: Tensor | None = None  # (B, L + 1, d) sums of the open lines
        self._begins = np.zeros(num_rows, dtype=np.int64)  # the first token of the open line
        self._counts = np.zeros(num_rows, dtype=np.int64)  # and how many are summed of it
        self._delayed: set[int] = set()

    def admit(self, slot: int, row: RowSums) -> None:
        """Seat a row, new or one that was taken out."""
        self._rows[slot] = row
        self._begins[slot], self._counts[slot] = row.steps.whole.num_tokens, row.num_tokens
        if row.line is not None:
            self._like(row.line)[slot] = row.line
        elif self._lines is not None:
            self._lines[slot] = 0
        row.line = None
        if row.delay:
            self._delayed.add(slot)

    def take(self, slot: int) -> None:
        """Empty a slot. What the row takes along of its open line lies here until the slot has another row."""
        row = self._rows[slot]
        if row is not None and self._lines is not None:
            row.line, row.num_tokens = self._lines[slot], int(self._counts[slot])
        self._rows[slot] = None
        self._delayed.discard(slot)

    def add(self, slots: NDArray[np.int64], states: Tensor, ids: NDArray[np.int32]) -> None:
        """Add the states that produced the newest tokens of slots.

        Args:
            slots: (S,) ascending: all that have a row.
            states: (R, L + 1, d) of the first R slots; those of empty ones are lost.
            ids: (B, room) the tokens of all slots.
        """
        with _out_of_memory_passes():
            self._add(slots, states, ids)

    def _add(self, slots: NDArray[np.int64], states: Tensor, ids: NDArray[np.int32]) -> None:
        lines = self._like(states[0])
        if self._delayed:
            slots = self._add_oldest(slots, states, lines)
        else:
            lines[: len(states)] += states
        if not len(slots):
            return
        self._counts[slots] += 1
        newest = ids[slots, self._begins[slots] + self._counts[slots] - 1]
        for slot in slots[self._text.end_lines(newest)].tolist():
            row = self._rows[slot]
            assert row is not None
            begin, count = int(self._begins[slot]), int(self._counts[slot])
            row.steps.add(self._text.text_between(ids[slot], begin, begin + count), lines[slot].clone(), count)
            lines[slot] = 0
            self._begins[slot], self._counts[slot] = begin + count, 0
            reduce(row.steps.take_closed(CHUNK))

    def _add_oldest(self, slots: NDArray[np.int64], states: Tensor, lines: Tensor) -> NDArray[np.int64]:
        """Hold the states of slots, and add those that have been held for long enough: of which slots."""
        picked = states[torch.from_numpy(slots).to(states.device)]  # what is held must not hold the others
        ready: list[int] = []
        oldest: list[Tensor] = []
        for slot, state in zip(slots.tolist(), picked, strict=True):
            row = self._rows[slot]
            assert row is not None
            row.held.append(state)
            if len(row.held) > row.delay:
                ready.append(slot)
                oldest.append(row.held.popleft())
        found = np.array(ready, dtype=np.int64)
        if ready:
            lines.index_add_(0, torch.from_numpy(found).to(lines.device), torch.stack(oldest).to(lines.dtype))
        return found

    def _like(self, state: Tensor) -> Tensor:
        """The sums of the open lines, made when the first state (L + 1, d) comes."""
        if self._lines is None:
            self._lines = _zeros(torch.Size((len(self._rows), *state.shape)), state.device)
        return self._lines


def finish(
    row: RowSums, ids: NDArray[np.int32], text: str, starts: NDArray[np.int32], detokenizer: Detokenizer
) -> EmbeddingChain | None:
    """The chain of a row that was taken out of the batch, as its text is in the end; None without tokens.

    Rows are NaN where the steps that were summed are not those of the text (a tokenizer whose tokens, put together, give
    another text than each of them), where a stop string took back more than was held, and where memory ran out.

    Args:
        row: Used up.
        ids: All tokens that were drawn.
        text: What is kept of theirs.
        starts: (T,) where the tokens that are kept begin in it.
        detokenizer: Of the model's tokenizer.
    """
    if not len(starts) or (row.line is None and not row.held):
        return None
    spans = split_steps(text)
    counts = np.bincount(step_ids(starts, spans), minlength=len(spans))[: len(spans)].tolist()
    values = np.full((1 + len(spans), 2 * len(row.held[0] if row.line is None else row.line)), np.nan, dtype=np.float32)
    with _out_of_memory_passes():
        found = _last_sums(row, ids, text, len(starts), detokenizer)
        if [step.num_tokens for step in found[1:]] != counts:
            del found[1:]
        reduce(found)
        there = {number: part.reduced for number, part in enumerate(found) if part.reduced is not None}
        if there:
            values[list(there)] = torch.stack(list(there.values())).cpu().numpy()
    return EmbeddingChain(values)


def _last_sums(row: RowSums, ids: NDArray[np.int32], text: str, kept: int, detokenizer: Detokenizer) -> list[Part]:
    """The sums of the `kept` tokens and of each step, those that were held included; none where a token's state is missing."""
    begin, end = row.steps.whole.num_tokens, row.steps.whole.num_tokens + row.num_tokens
    if end > kept or end + len(row.held) != len(ids):
        return []
    line = _zeros(row.held[0].shape, row.held[0].device) if row.line is None else row.line.clone()
    for state in list(row.held)[: kept - end]:
        line += state
        end += 1
        if end < kept and detokenizer.end_lines(ids[end - 1 : end])[0]:
            row.steps.add(detokenizer.text_between(ids, begin, end), line, end - begin)
            line, begin = torch.zeros_like(line), end
    row.steps.add(text[row.steps.num_characters :], line, end - begin)
    return [row.steps.whole, *row.steps.finish()]


def reduce(parts: list[Part]) -> None:
    """Put, in the place of their sums, the chain row (2 L + 2) of their means."""
    summed = [(part, part.total) for part in parts if part.total is not None]
    if not summed:
        return
    if summed[0][1].device.type == "cpu":
        rows = torch.from_numpy(chain_row(np.stack([total.numpy() / part.num_tokens for part, total in summed])))
    else:
        chunks = (summed[first : first + CHUNK] for first in range(0, len(summed), CHUNK))
        rows = torch.cat([_chain_rows([total / part.num_tokens for part, total in chunk]) for chunk in chunks])
    for (part, _), row in zip(summed, rows, strict=True):
        part.total, part.reduced = None, row


def _chain_rows(means: list[Tensor]) -> Tensor:
    """`chain_row` of up to CHUNK means (L + 1, d), where they are: (., 2 L + 2). No GPU has to wait for it."""
    padded = means + means[-1:] * (CHUNK - len(means))
    (lengths, cosines), (whole, whole_cosine) = moves(torch.stack(padded).double())
    angles, whole_angle = (cosine.clip(-1.0, 1.0).arccos() for cosine in (cosines, whole_cosine))
    return torch.cat((lengths, angles, whole, whole_angle), -1)[: len(means)]


@contextmanager
def _out_of_memory_passes() -> Iterator[None]:
    """Go on after memory has run out: states that are missing show in the counts, and texts are worth more than chains."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise


def _zeros(shape: torch.Size, device: torch.device) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
