"""Sums over the steps of a text while it is being written: exact, without keeping what is summed.

Which rule of `tamis.steps` cuts a text is known only at its end, so the three run side by side, line by line, until one that
goes before is known to hold. A rule keeps two sums: of the piece since its last cut, and of the step before it, which a
short piece may still join. A step that nothing can join any more is closed; its sum may then be turned into the few numbers
that are kept of it (`take_closed`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tamis.steps import HEADER, SHORTEST_STEP


@dataclass(slots=True, eq=False)
class Part:
    """A stretch of a text and the tokens that begin in it. Its sum may be another's too: it is never changed in place."""

    text: str = ""  # as much of it as shows whether it is short
    total: Tensor | None = None  # the sum (L + 1, d) of the tokens' states; None without tokens, or once it is reduced
    num_tokens: int = 0
    reduced: Tensor | None = None  # what is kept of the sum

    @property
    def is_short(self) -> bool:
        """Whether it is too short for a step of its own."""
        return len(self.text.strip()) < SHORTEST_STEP

    def __add__(self, other: Part) -> Part:
        text = self.text + other.text if self.is_short else self.text
        both = self.total is not None and other.total is not None
        total = self.total + other.total if both else self.total if other.total is None else other.total  # type: ignore[operator]
        return Part(text, total, self.num_tokens + other.num_tokens)


class _Rule:
    """One way to cut a text before lines. It holds once it has found `needed` of them."""

    def __init__(self, cuts_before: Callable[[str, bool], bool], needed: int) -> None:
        self.cuts_before = cuts_before  # from a line, and whether a blank line other than the first is before it
        self.missing = needed
        self.closed: list[Part] = []
        self.fresh: list[Part] = []  # those of them that nobody has taken yet
        self.step: Part | None = None
        self.piece: Part | None = None

    def add(self, line: Part, *, after_blank: bool) -> None:
        if self.cuts_before(line.text, after_blank):
            self.missing -= 1
            self.close_piece()
        self.piece = line if self.piece is None else self.piece + line

    def close_piece(self) -> None:
        if self.piece is None:
            return
        if self.step is None:
            self.step = self.piece
        elif self.piece.is_short or self.step.is_short:  # only the first step can be short
            self.step += self.piece
        else:
            self.closed.append(self.step)
            self.fresh.append(self.step)
            self.step = self.piece
        self.piece = None


class StepSums:
    """The sums of one text.

    Attributes:
        whole: Of all tokens so far.
        num_characters: Of the text so far.
    """

    def __init__(self) -> None:
        self.whole = Part()
        self.num_characters = 0
        self._rules = [
            _Rule(lambda line, _: HEADER.match(line) is not None, needed=2),
            _Rule(lambda line, after_blank: after_blank and bool(line.strip()), needed=1),
            _Rule(lambda *_: True, needed=0),
        ]
        self._open = Part()  # the line that has no end yet, its text whole
        self._num_lines = 0
        self._after_blank = False

    def add(self, text: str, total: Tensor, num_tokens: int) -> None:
        """Take tokens that all begin in the open line: their text, and the sum of their states."""
        new = Part("", total if num_tokens else None, num_tokens)
        self.whole += new
        self.num_characters += len(text)
        *lines, rest = (self._open.text + text).split("\n")
        tokens = Part("", self._open.total, self._open.num_tokens) + new
        for line in lines:
            self._end_line(Part(line + "\n", tokens.total, tokens.num_tokens))
            tokens = Part()
        self._open = Part(rest, tokens.total, tokens.num_tokens)

    def finish(self) -> list[Part]:
        """The steps, once all tokens are there; none of an empty text. Some are reduced, all others have their sums."""
        if self._open.text or self._open.num_tokens:
            self._end_line(self._open)
        rule = self._rules[-1]
        rule.close_piece()
        return [*rule.closed, *([rule.step] if rule.step and self.num_characters else [])]

    def take_closed(self, least: int) -> list[Part]:
        """The steps that were closed since the last time, of every rule that may still hold; none if fewer than `least`."""
        taken = [part for rule in self._rules for part in rule.fresh]
        if len(taken) < least:
            return []
        for rule in self._rules:
            rule.fresh.clear()
        return taken

    def _end_line(self, line: Part) -> None:
        for rule in self._rules:
            rule.add(line, after_blank=self._after_blank)
        holds = next(number for number, rule in enumerate(self._rules) if rule.missing <= 0)
        del self._rules[holds + 1 :]
        self._after_blank = self._num_lines > 0 and not line.text.strip()
        self._num_lines += 1
