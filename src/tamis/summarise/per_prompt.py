"""The rows of each prompt -> its numbers: those that the documented output has, and those that tables and curves need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.summarise.partial import NOT_READ, Rows, Whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIGHT = 1.0
"""A row of this accuracy or more is right where right and wrong are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptSummary:
    """One prompt over all inputs, its R rows in the order in which they were read."""

    prompt: str
    answer: Any  # the reference of its first row
    accuracies: NDArray[Any]  # (R,)
    gen_lengths: NDArray[np.uint32]  # (R,) tokens
    num_truncated: int
    num_known_end: int  # rows that say whether they were truncated
    num_repeated: int  # rows that say what an earlier row of the prompt says
    answers: NDArray[np.signedinteger[Any]] | None  # (R,) what the model answered, -1: nothing; None: not looked for
    differs: bool  # whether a row has another reference

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.accuracies)

    @property
    def total_accuracy_count(self) -> float:
        """The sum of the accuracies, rounded once."""
        return fsum(self.accuracies.tolist())

    @property
    def average_accuracy(self) -> float:
        """Their mean."""
        return self.total_accuracy_count / self.count

    @property
    def num_right(self) -> int:
        """Rows that are right."""
        return int((self.accuracies >= RIGHT).sum())

    @property
    def max_gen_length(self) -> int:
        """Tokens of the longest."""
        return int(self.gen_lengths.max())

    @property
    def avg_gen_length(self) -> float:
        """Mean number of tokens."""
        return int(self.gen_lengths.sum(dtype=np.int64)) / self.count

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in their order."""
        return {
            "prompt": self.prompt,
            "answer": self.answer,
            "count": self.count,
            "total_accuracy_count": self.total_accuracy_count,
            "average_accuracy": self.average_accuracy,
            "max_gen_length": self.max_gen_length,
            "avg_gen_length": self.avg_gen_length,
            "gen_lengths": self.gen_lengths.tolist(),
        }

    def more(self) -> dict[str, Any]:
        """What tables have besides."""
        return {
            "num_right": self.num_right,
            "num_truncated": self.num_truncated if self.num_known_end else None,
            "num_repeated": self.num_repeated,
        }


def summaries(whole: Whole) -> Iterator[PromptSummary]:
    """One summary a prompt, in the order in which the prompts first appear."""
    for prompt, facts, rows in whole:
        yield PromptSummary(
            prompt=prompt,
            answer=facts.reference,
            accuracies=rows.accuracy,
            gen_lengths=rows.tokens,
            num_truncated=int((rows.truncated == 1).sum()),
            num_known_end=int((rows.truncated >= 0).sum()),
            num_repeated=len(rows) - len(np.unique(rows.digest)),
            answers=_answers(rows),
            differs=facts.differs,
        )


def _answers(rows: Rows) -> NDArray[np.signedinteger[Any]] | None:
    return None if (rows.answer == NOT_READ).any() else rows.answer
