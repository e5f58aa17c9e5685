"""Where a text is cut into steps, docs/methods.md section 5: engines that sum per step and scores must agree on it.

A step is a span of characters; a token belongs to the step in which it begins.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Span = tuple[int, int]

# Possessive runs of white space (`*+`): neighbouring ones would otherwise try every split of a long blank line.
HEADER = re.compile(r"^[^\S\n]*+(?:#{1,6}[^\S\n]*+)?(?:\*\*)?[^\S\n]*+Step[^\S\n]*+\d+\b", re.IGNORECASE | re.MULTILINE)
_AFTER_BLANK = re.compile(r"\n[^\S\n]*\n(?=[^\S\n]*\S)")
_NEWLINE = re.compile(r"\n")
SHORTEST_STEP = 5  # characters, outer white space not counted


def split_steps(text: str) -> list[Span]:
    """Cut a text into steps: (start, end) characters, which partition it. No steps in an empty text.

    At headers ("Step 3", "## Step 3", "**Step 3", at the start of a line) when there are two or more; else at blank lines;
    else at newlines; else not at all. Never at full stops: "3.14" and "e.g." are no ends of steps. A step of fewer than 5
    characters joins the one before it, the first the one after it.
    """
    headers = [match.start() for match in HEADER.finditer(text)]
    cuts = headers if len(headers) >= 2 else []
    cuts = cuts or [match.end() for match in _AFTER_BLANK.finditer(text)] or [match.end() for match in _NEWLINE.finditer(text)]
    bounds = sorted({0, *cuts, len(text)})
    steps: list[Span] = []
    for start, end in pairwise(bounds):
        if steps and len(text[start:end].strip()) < SHORTEST_STEP:
            steps[-1] = (steps[-1][0], end)
        else:
            steps.append((start, end))
    if len(steps) > 1 and len(text[: steps[0][1]].strip()) < SHORTEST_STEP:
        steps[:2] = [(0, steps[1][1])]
    return steps


def step_ids(starts: NDArray[np.integer], steps: Sequence[Span]) -> NDArray[np.intp]:
    """The step in which each token begins, (T,), from the tokens' first characters (T,)."""
    firsts = np.array([start for start, _ in steps], dtype=np.int64)
    return np.maximum(np.searchsorted(firsts, starts, side="right") - 1, 0)
