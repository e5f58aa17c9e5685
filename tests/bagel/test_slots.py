"""Who is in when memory runs out: nobody is lost, and there are as many slots again as soon as that makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bagel.release import SYSTEM_PROMPT

from tamis.bagel.loop import interleave
from tamis.bagel.model import Model
from tamis.bagel.settings import Interleaving, Puzzle
from tamis.bagel.slots import Slots


def seat(slots: Slots) -> list[str]:
    """Let those in who are admitted; who is in."""
    while slots.admitted:
        slot, puzzle = slots.admitted.popleft()
        slots.rows[slot] = SimpleNamespace(puzzle=puzzle)  # type: ignore[call-overload]
    return [row.puzzle.id if row else "" for row in slots.rows]


def leave(slots: Slots) -> None:
    slots.rows = [None] * len(slots.rows)


def test_fewer_slots_for_a_while_then_for_good(model: Model) -> None:
    puzzles = iter([Puzzle(str(number), ("Which?",), number) for number in range(20)])
    slots = Slots(model, 4, 0.0)
    assert slots.admit(puzzles)
    assert seat(slots) == ["0", "1", "2", "3"]
    assert slots.halve() is None
    assert slots.admit(puzzles)
    assert seat(slots) == ["0", "1"]
    leave(slots)
    assert slots.admit(puzzles)
    assert seat(slots) == ["2", "3"]
    slots.rows[0] = None
    assert slots.admit(puzzles)  # new ones wait
    assert seat(slots) == ["", "3"]
    leave(slots)
    assert slots.admit(puzzles)
    assert seat(slots) == ["4", "5", "6", "7"]
    assert slots.halve() is None
    for ids in (["4", "5"], ["6", "7"], ["8", "9"]):  # the second time
        assert slots.admit(puzzles)
        assert seat(slots) == ids
        leave(slots)


def test_one_that_does_not_fit_alone_has_taken_the_blame(model: Model) -> None:
    puzzles = iter([Puzzle(str(number), ("Which?",), number) for number in range(6)])
    slots = Slots(model, 2, 0.0)
    slots.admit(puzzles)
    slots.admitted.popleft()  # lost its way into memory: the second was admitted and not yet in
    slots.rows[0] = SimpleNamespace(puzzle=Puzzle("0", ("Which?",), 0))  # type: ignore[call-overload]
    assert slots.halve() is None
    slots.admit(puzzles)
    assert seat(slots) == ["0"]
    alone: Any = slots.halve()
    assert alone.puzzle.id == "0"
    slots.admit(puzzles)
    assert seat(slots) == ["1"]
    leave(slots)
    slots.admit(puzzles)
    assert seat(slots) == ["2", "3"]
    leave(slots)
    slots.admit(puzzles)
    assert seat(slots) == ["4", "5"]
    leave(slots)
    assert not slots.admit(puzzles)


def test_an_error_of_the_source_is_not_the_models(model: Model) -> None:
    def source() -> Iterator[Puzzle]:
        yield Puzzle("a", ("Which?",), 0)
        raise MemoryError("a line too long")

    settings = Interleaving(system_prompt=SYSTEM_PROMPT, max_tokens=3, max_iterations=0, batch_size=2)
    with pytest.raises(MemoryError, match="a line too long"):
        list(interleave(model, source(), settings))
