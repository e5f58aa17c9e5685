"""CoT-decoding (Wang & Zhou 2024, arXiv 2402.10200): how sure the model was of the tokens of its answer."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from tamis.steps import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BRACES = re.compile(r"\\boxed\s*+\{|\\.|[{}]", re.DOTALL)


def boxed_span(text: str) -> Span | None:
    r"""The characters inside the last `\boxed{...}` whose braces balance and that is not empty; None where there is none."""
    opened: list[tuple[int, bool]] = []  # where the inside of each open brace begins, and whether it is a box
    found = None
    for match in _BRACES.finditer(text):
        if match[0].endswith("{") and match[0] != "\\{":
            opened.append((match.end(), len(match[0]) > 1))
        elif match[0] == "}" and opened:
            start, is_box = opened.pop()
            if is_box and text[start : match.start()].strip():
                found = (start, match.start())
    return found


def answer_margin(margin: NDArray[np.float64], starts: NDArray[np.integer], text: str) -> float:
    r"""Mean of p(1) - p(2) over the tokens that overlap the inside of the last box; NaN where there is no such token.

    Args:
        margin: p(1) - p(2) of each token, (T,).
        starts: The index in the text of each token's first character, (T,), never falling.
        text: The whole text.
    """
    span = boxed_span(text)
    if span is None or not len(starts):
        return math.nan
    bounds = np.append(np.unique(starts), len(text))  # tokens that share a character share its end
    ends = bounds[np.searchsorted(bounds[:-1], starts, side="right")]
    inside = (starts < span[1]) & (ends > span[0])
    return float(margin[inside].mean()) if inside.any() else math.nan
