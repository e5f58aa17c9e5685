"""What whoever listens to a draw is told while it is drawn (`records.OnText`): its text, as far as nothing can change it.

Held back are bytes that are no whole character yet, and what may be the beginning of a stop string. Each token is looked at
once, so that no length of output makes the work quadratic.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.engines.hf.text import WINDOW, Detokenizer
from tamis.records import Draw, OnText

Grow = Callable[[int], str]
"""From the next token of a text to the characters that are certain by it; some come later."""


class Telling:
    """What is told of one draw."""

    def __init__(self, text: Detokenizer, stops: Sequence[str], draw: Draw, on_text: OnText) -> None:
        self._grow: Grow = _by_bytes(text) if text.is_byte_level else _by_windows(text)
        self._stops = stops
        self._draw = draw
        self._on_text = on_text
        self._text = ""
        self._num_seen = 0  # tokens
        self._num_told = 0  # characters

    def goes_on(self, ids: NDArray[np.int32]) -> bool:
        """Tell what is new in ids (T,), all so far; whether the draw shall go on."""
        for token in ids[self._num_seen :].tolist():
            self._text += self._grow(token)
        self._num_seen = len(ids)
        certain = len(self._text) - begun_stop(self._text, self._stops)
        if certain <= self._num_told:
            return True
        self._num_told = certain
        return self._on_text(self._draw, self._text[:certain])


def begun_stop(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    longest = max(map(len, stops), default=0) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(stop.startswith(text[-size:]) for stop in stops if len(stop) > size)), 0)


def _by_bytes(text: Detokenizer) -> Grow:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    return lambda token: decode(text.piece(token))


def _by_windows(text: Detokenizer) -> Grow:
    """Of tokenizers that are not byte-level: the tokens not yet told are decoded behind those told last."""
    context: list[int] = []
    new: list[int] = []
    before = ""  # the text of the context

    def grow(token: int) -> str:
        nonlocal context, new, before
        new.append(token)
        if text.is_open(token):  # what follows may make something else of it, and of all bytes before it
            return ""
        whole = text.text(context + new)
        if not whole.startswith(before) or (whole.endswith("\N{REPLACEMENT CHARACTER}") and len(new) < WINDOW):
            return ""
        piece = whole[len(before) :]
        context, new = new, []
        before = text.text(context)
        return piece

    return grow
