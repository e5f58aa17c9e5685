"""From token ids to text: where each token's characters start, and where a stop string cuts.

The text is always exactly `tokenizer.decode(ids, skip_special_tokens=True)` without clean-up. Byte-level tokenizers (GPT-2,
Qwen, Llama 3, ...) are read through the bytes of their tokens, one pass over the ids; all others through short windows of
`decode`, so that no length of output makes the work quadratic.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 16  # tokens that may stay undecided (the bytes of one character are at most 4)
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def _bytes_of_letters() -> dict[str, int]:
    """The letters by which byte-level BPE writes bytes (GPT-2): printable ones stand for themselves, others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


class Detokenizer:
    """Texts of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import decoders

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:  # a tokenizer in Python
            self._decode = partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        else:  # the same, without the checks of its wrapper
            self._decode = backend.decode
        self._backend = backend if backend is not None and isinstance(backend.decoder, decoders.ByteLevel) else None
        self._name: Callable[[int], str | None] = tokenizer.convert_ids_to_tokens
        self._special = frozenset(tokenizer.all_special_ids)
        self._letters = _bytes_of_letters()
        self._pieces: dict[int, bytes] = {}
        self._widths: dict[int, int] = {}
        self._ends_line = np.zeros(0, dtype=np.int8)  # by token: 1 yes, 0 no, -1 not known yet

    @property
    def is_byte_level(self) -> bool:
        """Whether the text is that of the bytes of the tokens, so that `piece` tells all."""
        return self._backend is not None

    def is_open(self, token: int) -> bool:
        """Whether what follows may change the text up to here, where tokens are not byte-level.

        So it is behind one that stands for a byte, and behind a special one, which keeps no two bytes apart.
        """
        return token in self._special or _BYTE.fullmatch(self._name(token) or "") is not None

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return str(self._decode(ids))

    def text_and_starts(self, ids: Sequence[int]) -> tuple[str, NDArray[np.int32]]:
        """The text of ids, and the index in it of each token's first character (T,), monotone.

        A token that only completes a character starts where that character does; one without text where the next starts.
        """
        text = self.text(ids)
        starts = self._starts_by_bytes(ids) if self._backend is not None else self._starts_by_windows(ids, text)
        return text, np.minimum(np.maximum.accumulate(np.asarray(starts, dtype=np.int32)), len(text))

    def tail(self, ids: Sequence[int], num_bytes: int) -> str:
        """The end of the text of ids: all of the last token's, and at least `num_bytes` UTF-8 bytes before it."""
        if self._backend is None:
            return self.text(ids[-num_bytes - WINDOW :])
        pieces = [self.piece(ids[-1])]
        missing = num_bytes
        for token in reversed(ids[:-1]):
            piece = self.piece(token)
            pieces.append(piece)
            missing -= len(piece)
            if missing <= 0:
                break
        return b"".join(reversed(pieces)).decode("utf-8", "replace")

    def text_between(self, ids: NDArray[np.int32], begin: int, end: int) -> str:
        """The text of ids[begin:end] as part of that of all ids (T,); it must neither begin nor end inside of a character."""
        context = [] if self._backend is not None else ids[max(0, begin - 1) : begin].tolist()  # some drop the first space
        return self.text(context + ids[begin:end].tolist())[len(self.text(context)) :]

    def end_lines(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of the tokens (T,) hold a newline, as they are alone."""
        missing = int(ids.max(initial=-1)) + 1 - len(self._ends_line)
        if missing > 0:
            self._ends_line = np.pad(self._ends_line, (0, missing), constant_values=-1)
        for token in set(ids[self._ends_line[ids] < 0].tolist()):
            self._ends_line[token] = "\n" in self.text([token])
        ends: NDArray[np.bool_] = self._ends_line[ids] > 0
        return ends

    def piece(self, token: int) -> bytes:
        """The bytes of a token of a byte-level tokenizer; none of a special one."""
        piece = self._pieces.get(token)
        if piece is None:
            assert self._backend is not None
            name = None if token in self._special else self._backend.id_to_token(token)
            if name is None:  # a special token, or a padding row of the embedding
                piece = b""
            elif all(letter in self._letters for letter in name):
                piece = bytes(self._letters[letter] for letter in name)
            else:  # an added token, written as it is
                piece = name.encode()
            self._pieces[token] = piece
        return piece

    def _width(self, token: int) -> int:
        """The number of characters of a token; -1 when its bytes are no whole characters."""
        width = self._widths.get(token)
        if width is None:
            try:
                width = len(self.piece(token).decode())
            except UnicodeDecodeError:
                width = -1
            self._widths[token] = width
        return width

    def _starts_by_bytes(self, ids: Sequence[int]) -> NDArray[np.int32]:
        widths = np.fromiter((self._width(token) for token in ids), np.int32, len(ids))
        if (widths < 0).any():  # some token splits a character
            decode = codecs.getincrementaldecoder("utf-8")("replace").decode
            widths = np.fromiter((len(decode(self.piece(token))) for token in ids), np.int32, len(ids))
        return np.cumsum(widths, dtype=np.int32) - widths

    def _starts_by_windows(self, ids: Sequence[int], text: str) -> list[int]:
        starts = []
        context = anchor = base = 0  # ids[anchor:] starts at text[base:]; ids[context:anchor] is decoded along as context
        before = 0  # length of the text of ids[context:anchor]
        for token in range(len(ids)):
            piece = self.text(ids[context:token])[before:]
            agreed = _agreement(piece, text[base : base + len(piece)])
            starts.append(base + agreed)
            if token > anchor and (agreed == len(piece) or token - anchor >= WINDOW):
                base += agreed
                context, anchor = anchor, token
                before = len(self.text(ids[context:anchor]))
        return starts


def _agreement(a: str, b: str) -> int:
    """The number of characters with which both begin."""
    if a == b:
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def cut_at_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest stop string begins, or None."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return min(found, default=None)
