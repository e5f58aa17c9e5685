"""Rows of one block, one at a time, into a `Partial`."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.summarise.partial import MOST_BAD, NO_ANSWER, NOT_READ, BadLine, Block, Partial, Place, PromptFacts, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tally:
    """Columns that grow by a row; `partial` closes them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._prompts: dict[str, int] = {}
        self._facts: list[PromptFacts] = []
        self._answers: dict[str, int] = {}
        self._prompt, self._accuracy, self._tokens = array("i"), array("d"), array("I")
        self._digest, self._truncated, self._answer = array("Q"), array("b"), array("i")
        self._bad: list[tuple[Place, BadLine]] = []
        self._num_bad = 0

    def add(
        self,
        prompt: str,
        reference: Any,
        accuracy: float,
        num_tokens: int,
        texts: Sequence[str],
        *,
        truncated: bool | None = None,
        answer: str | int | None = NOT_READ,
    ) -> None:
        """One row.

        Args:
            prompt: By which rows belong together.
            reference: The answer that is right, any JSON; the prompt's first row gives it.
            accuracy: How right the row is, finite.
            num_tokens: Of all its texts.
            texts: To find rows that say the same.
            truncated: Whether a text was cut at a limit; None: not known.
            answer: What the model answered; None: nothing; NOT_READ: it was not looked for.
        """
        number = self._prompts.setdefault(prompt, len(self._facts))
        if number == len(self._facts):
            self._facts.append(PromptFacts(reference, (*self._place, len(self._prompt))))
        elif (facts := self._facts[number]).reference != reference:
            facts.differs = True
        self._prompt.append(number)
        self._accuracy.append(accuracy)
        self._tokens.append(num_tokens)
        self._digest.append(_digest(texts))
        self._truncated.append(-1 if truncated is None else truncated)
        if isinstance(answer, str):
            answer = self._answers.setdefault(answer, len(self._answers))
        self._answer.append(NO_ANSWER if answer is None else answer)

    def refuse(self, line: int, field: str, reason: str) -> None:
        """A row that is left out."""
        self._num_bad += 1
        if len(self._bad) < MOST_BAD:
            self._bad.append((self._place, BadLine(line, field, reason)))

    def partial(self, num_lines: int = 0) -> Partial:
        """All of it as one block."""
        answer = np.frombuffer(self._answer, np.int32)
        rows = Rows(
            np.frombuffer(self._prompt, np.int32),
            _narrow(np.frombuffer(self._accuracy, np.float64)),
            np.frombuffer(self._tokens, np.uint32),
            np.frombuffer(self._digest, np.uint64),
            np.frombuffer(self._truncated, np.int8),
            answer if self._answers else answer.astype(np.int8),
        )
        blocks = [Block(self._place, num_lines, rows)]
        return Partial(self._prompts, self._facts, self._answers, blocks, self._bad, self._num_bad)


def _narrow(accuracy: NDArray[np.float64]) -> NDArray[Any]:
    """The same values in the fewest bytes: 0 and 1 need one."""
    if np.isin(accuracy, (0.0, 1.0)).all():
        return accuracy.astype(np.uint8)
    short = accuracy.astype(np.float32)
    return short if (short == accuracy).all() else accuracy


def _digest(texts: Sequence[str]) -> int:
    hashed = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        if len(texts) > 1:
            hashed.update(len(data).to_bytes(8))
        hashed.update(data)
    return int.from_bytes(hashed.digest())
