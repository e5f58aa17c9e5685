"""Places for the rows that advance together, with their caches; where memory runs out there are fewer of them for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch

from tamis.bagel.cache import Context
from tamis.bagel.model import Model
from tamis.bagel.rows import Row
from tamis.bagel.settings import Puzzle
from tamis.engines.hf.sampler import Sampler
from tamis.records import Sampling


class Slots:
    """The rows that are in.

    Attributes:
        rows: Of each slot its row.
        admitted: Who has a slot and is not in it yet.
        seen: The cache from which texts are drawn; see `rows`.
        sampler: Draws the tokens of all slots.
    """

    def __init__(self, model: Model, num_slots: int, temperature: float) -> None:
        self._model = model
        self._sampling = Sampling(temperature=temperature)
        self._most = self._wanted = num_slots
        self._too_many: set[int] = set()  # numbers of slots for which memory did not suffice once
        self._again: deque[Puzzle] = deque()  # they have to begin anew
        self.admitted: deque[tuple[int, Puzzle]] = deque()
        self._make(num_slots)

    def _make(self, num_slots: int) -> None:
        self.rows: list[Row | None] = [None] * num_slots
        self._caches = [self._model.new_cache(num_slots) for _ in range(3)]
        self.seen = self._caches[0]
        self.sampler = Sampler(num_slots)
        for slot in range(num_slots):
            self.sampler.set(slot, self._sampling)

    def admit(self, puzzles: Iterator[Puzzle]) -> bool:
        """Say who is to have the free slots, once each; whether there is anybody left.

        After memory ran out new ones wait until those are done that were in.
        """
        if not (self._again or any(self.rows)) and len(self.rows) < self._wanted:
            self._make(self._wanted)
        for slot in [slot for slot, row in enumerate(self.rows) if row is None]:
            if self._again:
                self.admitted.append((slot, self._again.popleft()))
            elif len(self.rows) < self._wanted:
                break
            elif puzzle := next(puzzles, None):
                self.admitted.append((slot, puzzle))
            else:
                break
        return bool(self.admitted) or any(self.rows)

    def contexts(self, slot: int) -> tuple[Context, Context, Context]:
        """The three of a row: `seen`, `full`, `words`."""
        seen, full, words = (Context(cache, slot) for cache in self._caches)
        return seen, full, words

    def sibling(self, row: Row) -> Row | None:
        """Another row that was given the same and has read it: another candidate of one problem."""
        there = (other for other in self.rows if other and other.given[0] and other.puzzle.items == row.puzzle.items)
        return next(there, None)

    def halve(self) -> Row | None:
        """Let the rows that are in begin anew, half as many at a time; one that was alone is given back.

        When they are done there are as many slots as before, for one of them may have been too large: one that was alone
        has taken the blame. Without such a row there are fewer for good from the second time on.
        """
        num_slots = len(self.rows)
        alone = self.rows[0] if num_slots == 1 else None
        if alone:
            self._wanted = self._most
            self._too_many.clear()
        else:
            self._again.extend(row.puzzle for row in self.rows if row)
            self._again.extend(puzzle for _, puzzle in self.admitted)
            if num_slots in self._too_many:
                self._wanted = max(1, num_slots // 2)
            self._too_many.add(num_slots)
        self.admitted.clear()
        del self.seen
        self._caches.clear()
        self.rows.clear()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        self._make(max(1, num_slots // 2))
        return alone
