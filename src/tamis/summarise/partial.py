"""What is known of some of the rows, in a form that any other such part can be added to.

Partial results of ranges of files are merged in whatever order they arrive; the whole is the same, since blocks of rows carry
their place. Memory: each prompt once, and some 20 bytes a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Place = tuple[int, int]
"""Number of the file, and where in it the block begins."""

MOST_BAD = 1000
"""Rows that are left out and described: the first so many. The others are counted."""

NO_ANSWER, NOT_READ = -1, -2
"""Of a row whose texts give no answer, and of one whose answer was not looked for."""


class BadLine(NamedTuple):
    """A row that is left out: its line in the block, the field, the reason."""

    line: int
    field: str
    reason: str


@dataclass(slots=True, eq=False)
class Rows:
    """R rows in columns; prompts and answers are numbers in the tables of the `Partial` that holds them."""

    prompt: NDArray[np.int32]
    accuracy: NDArray[Any]  # of the narrowest type that holds the values
    tokens: NDArray[np.uint32]
    digest: NDArray[np.uint64]  # of the texts
    truncated: NDArray[np.int8]  # 1, 0, or -1: the row does not say
    answer: NDArray[np.signedinteger[Any]]  # what the model answered: its number, NO_ANSWER or NOT_READ

    def __len__(self) -> int:
        return len(self.prompt)

    def __getitem__(self, rows: slice) -> Rows:
        return Rows(*(getattr(self, column.name)[rows] for column in fields(Rows)))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Adjacent rows of one file."""

    place: Place
    num_lines: int
    rows: Rows


@dataclass(slots=True)
class PromptFacts:
    """What is known of a prompt beside its rows."""

    reference: Any  # of its first row
    place: tuple[int, int, int]  # of its first row: file, block, row in it
    differs: bool = False  # whether some row has another reference

    def merge(self, other: PromptFacts) -> None:
        """Take in what another part knows."""
        self.differs = self.differs or other.differs or self.reference != other.reference
        if other.place < self.place:
            self.place, self.reference = other.place, other.reference


@dataclass(slots=True, eq=False)
class Partial:
    """Some blocks, and the prompts and answers of their rows; beside them the rows that are left out."""

    prompts: dict[str, int] = field(default_factory=dict)
    facts: list[PromptFacts] = field(default_factory=list)  # by number of the prompt
    answers: dict[str, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    bad: list[tuple[Place, BadLine]] = field(default_factory=list)  # the first of them, in order
    num_bad: int = 0

    def merge(self, other: Partial) -> None:
        """Add another part, which is used up. Neither order nor grouping of merges changes what `whole` gives."""
        prompts = np.empty(len(other.prompts), np.int32)
        for prompt, old in other.prompts.items():
            prompts[old] = number = self.prompts.setdefault(prompt, len(self.facts))
            if number == len(self.facts):
                self.facts.append(other.facts[old])
            else:
                self.facts[number].merge(other.facts[old])
        answers = np.empty(len(other.answers), np.int32)
        for answer, old in other.answers.items():
            answers[old] = self.answers.setdefault(answer, len(self.answers))
        for block in other.blocks:
            rows = block.rows
            rows.prompt = prompts[rows.prompt]
            is_read = rows.answer >= 0
            rows.answer[is_read] = answers[rows.answer[is_read]]
        self.blocks += other.blocks
        self.bad = sorted(self.bad + other.bad)[:MOST_BAD]
        self.num_bad += other.num_bad

    def whole(self) -> Whole:
        """Everything, prompts and their rows in the order in which they stand in the files. Uses the partial up."""
        self.blocks.sort(key=lambda block: block.place)
        bad = _in_files(self.bad, self.blocks)
        columns: dict[str, Any] = {}
        for column in fields(Rows):  # one column at a time, so that no more than one is there twice
            parts = [getattr(block.rows, column.name) for block in self.blocks]
            for block in self.blocks:
                setattr(block.rows, column.name, None)
            whole = np.concatenate(parts) if parts else np.empty(0, np.int32)
            del parts
            if column.name == "prompt":
                order = np.argsort(whole, kind="stable")
            columns[column.name] = whole[order]
        self.blocks.clear()
        return Whole(list(self.prompts), self.facts, list(self.answers), Rows(**columns), bad, self.num_bad)


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """All rows, those of a prompt together."""

    prompts: list[str]  # by number
    facts: list[PromptFacts]
    answers: list[str]
    rows: Rows
    bad: list[tuple[int, BadLine]]  # the first that are left out: number of the file, and the row with its line in the file
    num_bad: int

    def __iter__(self) -> Iterator[tuple[str, PromptFacts, Rows]]:
        ends = np.cumsum(np.bincount(self.rows.prompt, minlength=len(self.prompts))) if self.prompts else ()
        for number in sorted(range(len(self.prompts)), key=lambda number: self.facts[number].place):
            start = int(ends[number - 1]) if number else 0
            yield self.prompts[number], self.facts[number], self.rows[start : int(ends[number])]


def _in_files(bad: list[tuple[Place, BadLine]], blocks: list[Block]) -> list[tuple[int, BadLine]]:
    """Rows with their lines in the file instead of in the block; the blocks are in order."""
    before: dict[Place, int] = {}
    num_lines, file = 0, -1
    for block in blocks:
        num_lines = num_lines if block.place[0] == file else 0
        file = block.place[0]
        before[block.place] = num_lines
        num_lines += block.num_lines
    return [(place[0], row._replace(line=before[place] + row.line)) for place, row in bad]
