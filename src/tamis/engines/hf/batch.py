"""The slots of a batch: which draw sits where, what it has said so far, and where it stands.

All state of a step is in arrays over the slots, so that a step costs the same few array operations however many rows there are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.hf.cache import Prefix
from tamis.engines.hf.hidden import HiddenSums, RowSums
from tamis.engines.hf.sampler import Sampler, uniforms
from tamis.engines.hf.telling import Telling
from tamis.engines.token_stats import STATE, statistics
from tamis.engines.watch import Watches
from tamis.records import Draw, Prompt, Request

ROOM = 256  # tokens a row's arrays hold at first; doubled as needed


@dataclass(slots=True, eq=False)
class Opening:
    """A prompt that is run once, for all draws of one request or of several that ask the same."""

    prompt: Prompt
    ids: list[int]  # at least one
    beside: Mapping[str, Tensor]  # what the model takes of the prompt's images
    prefix: Prefix | None = None  # of all tokens but the last, once it was run


@dataclass(slots=True, eq=False)
class Job:
    """A request under work."""

    request: Request
    ids: list[int]  # of the prompt
    limit: int  # tokens that may be generated
    stop_bytes: int  # length of the longest stop string, 0 without
    owed: int  # draws that have no slot yet
    opening: Opening | None  # kept while draws are owed
    offset: int = 0  # of the prefix


@dataclass(slots=True, eq=False)
class Row:
    """One draw, from its admission to its end."""

    job: Job
    draw: Draw
    started: float = 0.0
    hidden: RowSums | None = None
    telling: Telling | None = None
    # Only while it is out of the batch with work done (`Batch.park`):
    prefix: Prefix | None = None
    ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    states: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, STATE), np.float32))


class Batch:
    """`num_rows` slots; an empty slot feeds token 0 at position 0 and is masked from everything."""

    def __init__(self, num_rows: int, vocab_size: int, hidden: HiddenSums | None = None) -> None:
        self.num_rows = num_rows
        self.rows: list[Row | None] = [None] * num_rows
        self.alive = np.zeros(num_rows, dtype=bool)
        self.tokens = np.zeros(num_rows, dtype=np.int64)  # to be fed next
        self.positions = np.zeros(num_rows, dtype=np.int64)  # where it goes
        self.offsets = np.zeros(num_rows, dtype=np.int64)  # see `Prefix`
        self.lengths = np.zeros(num_rows, dtype=np.int64)  # tokens generated
        self.limits = np.zeros(num_rows, dtype=np.int64)
        self.sampler = Sampler(num_rows)
        self.stopping: set[int] = set()  # slots with stop strings
        self.listening: set[int] = set()  # slots whose request listens
        self.watches = Watches(num_rows, vocab_size)
        self.hidden = hidden
        self.ids = np.zeros((num_rows, ROOM), dtype=np.int32)
        self.states = np.zeros((num_rows, ROOM, STATE), dtype=np.float32)  # of `token_stats`, a token
        self.numbers = np.zeros((num_rows, ROOM), dtype=np.float64)  # uniform numbers, one a token

    def free_slot(self) -> int | None:
        """The first empty slot."""
        slot = int(self.alive.argmin())
        return None if self.alive[slot] else slot

    def admit(self, slot: int, row: Row) -> None:
        """Seat a row, new or parked; its last token is fed again, over the prefix of all tokens before."""
        self.rows[slot] = row
        self.alive[slot] = True
        length = len(row.ids)
        self.reserve(length + 1)
        self.lengths[slot], self.limits[slot] = length, row.job.limit
        self.positions[slot] = len(row.job.ids) - 1 + length
        self.offsets[slot] = row.job.offset
        self.tokens[slot] = row.ids[-1] if length else row.job.ids[-1]
        self.ids[slot, :length], self.states[slot, :length] = row.ids, row.states
        self.numbers[slot] = uniforms(row.draw.seed, self.numbers.shape[1])
        self.sampler.set(slot, row.job.request.sampling)
        if row.job.stop_bytes:
            self.stopping.add(slot)
        if row.telling:
            self.listening.add(slot)
        if row.job.request.watch:
            self.watches.begin(slot, row.job.request.watch, statistics(row.states))
        if self.hidden:
            row.hidden = row.hidden or RowSums(row.job.stop_bytes)
            self.hidden.admit(slot, row.hidden)
        row.started = row.started or time.perf_counter()

    def reserve(self, length: int) -> None:
        """Have room for `length` tokens a row."""
        room = self.ids.shape[1]
        if length <= room:
            return
        more = max(length, 2 * room) - room
        self.ids = np.pad(self.ids, ((0, 0), (0, more)))
        self.states = np.pad(self.states, ((0, 0), (0, more), (0, 0)))
        self.numbers = np.zeros(self.ids.shape, dtype=np.float64)
        for slot, row in enumerate(self.rows):
            if row is not None:
                self.numbers[slot] = uniforms(row.draw.seed, self.numbers.shape[1])

    def advance(self, slots: NDArray[np.int64], ids: NDArray[np.int64], states: NDArray[np.float32] | None) -> None:
        """Take one more token in each of these slots."""
        at = self.lengths[slots]
        if len(at):
            self.reserve(int(at.max()) + 2)
        self.ids[slots, at] = ids
        if states is not None:
            self.states[slots, at] = states
        self.lengths[slots] += 1
        self.tokens[slots] = ids
        self.positions[slots] += 1

    def next_numbers(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """The uniform number of each slot's next token."""
        return self.numbers[slots, self.lengths[slots]]

    def take(self, slot: int) -> Row:
        """Empty a slot; the row leaves with copies of what it has said."""
        row = self.rows[slot]
        assert row is not None
        length = int(self.lengths[slot])
        row.ids, row.states = self.ids[slot, :length].copy(), self.states[slot, :length].copy()
        self.rows[slot] = None
        self.alive[slot] = False
        self.tokens[slot] = self.positions[slot] = self.offsets[slot] = self.lengths[slot] = 0
        self.stopping.discard(slot)
        self.listening.discard(slot)
        self.watches.rows.discard(slot)
        if self.hidden:
            self.hidden.take(slot)
        return row
