"""Keys and values of what has been read, and contexts as handles on them.

A cache has a slot for each row of a batch; what a row's context holds lies in the first columns of its slot and is written
once. Keys know their positions, so their order in memory means nothing; the room of a picture makes use of it:

    columns of a drawing context     [ all that came before | room of the picture | the last text ]
    the picture under guidance sees    yes                    itself                yes: full context
                                       yes                    itself                no: context without the last text

Both views end where something ends, so each is one stretch of memory, without a copy and without a mask; and the finished
picture, read as clean latents, has exactly as many tokens as its noise had, and moves into the room for good.

What is copied, in place of being read again: the problem, to another candidate of it; the beginning that two contexts of a row
share, once, when its first picture is called for. And all when a cache grows, by a half of what it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tamis.bagel.config import LanguageShape

COLUMNS = 256  # by which a cache grows, at least; then by a half of what it has


class Cache:
    """Keys and values of all layers for a number of slots."""

    def __init__(self, shape: LanguageShape, num_slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self._size = (num_slots, shape.num_kv_heads, shape.head_dim)
        self.dtype = dtype
        empty = torch.zeros(num_slots, shape.num_kv_heads, 0, shape.head_dim, device=device, dtype=dtype)
        self.keys = [empty] * shape.num_layers  # (slots, KV heads, columns, D)
        self.values = [empty] * shape.num_layers

    @property
    def num_columns(self) -> int:
        """Tokens a slot can hold now."""
        return self.values[-1].shape[2]  # the last that grows

    def reserve(self, num_columns: int) -> None:
        """Make room for so many columns a slot."""
        have = self.num_columns
        if num_columns <= have:
            return
        wanted = max(num_columns, have + have // 2)
        wanted += -wanted % COLUMNS
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                if old.shape[2] >= wanted:  # memory ran out half-way, once
                    continue
                num_slots, num_heads, head_dim = self._size
                new = old.new_zeros(num_slots, num_heads, wanted, head_dim)
                new[:, :, : old.shape[2]] = old
                tensors[layer] = new

    def begin_as(self, slot: int, other: Cache, other_slot: int, num_columns: int) -> None:
        """Begin a slot with what another has in its first columns."""
        self.reserve(num_columns)
        for mine, theirs in ((self.keys, other.keys), (self.values, other.values)):
            for new, old in zip(mine, theirs, strict=True):
                new[slot, :, :num_columns] = old[other_slot, :, :num_columns]

    def wipe(self, slot: int) -> None:
        """Set a slot to zero."""
        for tensor in (*self.keys, *self.values):
            tensor[slot] = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens that enter a forward pass as part of a context: where their keys go and what they see."""

    cache: Cache
    slot: int
    first: int  # column of its first token
    num_tokens: int
    end: int  # it sees the columns before this one, itself among them
    position: int  # rotary; of its first token in a text, of all tokens in a picture
    is_text: bool  # causal: each token sees those before it
    hidden: tuple[int, int] = (0, 0)  # columns that a text does not see: the room of a picture
    latents: bool = False  # all but the first and the last token are latents


@dataclass(slots=True)
class Context:
    """What has been read so far: `length` columns of a slot; the next token's rotary position."""

    cache: Cache
    slot: int
    length: int = 0
    position: int = 0
    _room: tuple[int, int] = (0, 0)  # columns kept for the picture to be drawn
    _before: int = 0  # the rotary position before the texts that came after the room

    @property
    def mark(self) -> tuple[int, int]:
        """Where it stands: columns and rotary position."""
        return self.length, self.position

    def clear(self) -> None:
        """Forget everything."""
        self.length = self.position = 0
        self._room = (0, 0)

    def wipe(self) -> None:
        """Forget everything, and leave nothing behind that is no number: what is masked is still multiplied, by zero."""
        self.clear()
        self.cache.wipe(self.slot)

    def begin_as(self, other: Context, mark: tuple[int, int]) -> None:
        """Begin with what another context had at a mark: nothing is computed again."""
        self.clear()
        self.cache.begin_as(self.slot, other.cache, other.slot, mark[0])
        self.length, self.position = mark

    def text(self, num_tokens: int) -> Piece:
        """Append a text."""
        piece = self._piece(self.length, num_tokens, self.length + num_tokens, is_text=True)
        self.advance(num_tokens)
        return piece

    def advance(self, num_tokens: int) -> None:
        """Count tokens of a text that are there already."""
        self.length += num_tokens
        self.position += num_tokens

    def picture(self, num_tokens: int, *, latents: bool = False) -> Piece:
        """Append a picture, of so many tokens with its marks; latents of a picture that was drawn go into its room."""
        first = self.length
        if latents and self._room[1]:
            first = self._room[0]
            self._room = (0, 0)
        else:
            self.length += num_tokens
        piece = self._piece(first, num_tokens, self.length, latents=latents)
        self.position += 1
        return piece

    def make_room(self, num_tokens: int) -> None:
        """Keep columns for a picture; texts that follow are what it is guided towards."""
        self._room = (self.length, self.length + num_tokens)
        self._before = self.position
        self.length += num_tokens

    def noisy(self, num_tokens: int) -> Piece:
        """The picture that is being drawn, seeing everything; nothing is appended."""
        first = self._room[0] if self._room[1] else self.length
        return self._piece(first, num_tokens, max(self.length, first + num_tokens), latents=True)

    def noisy_without_text(self, num_tokens: int) -> Piece:
        """The same, seeing only what came before the room was made. It overwrites `noisy`, so it must be asked first."""
        first, end = self._room
        piece = self._piece(first, num_tokens, end, latents=True)
        return Piece(piece.cache, piece.slot, first, num_tokens, end, self._before, is_text=False, latents=True)

    def _piece(self, first: int, num_tokens: int, end: int, *, is_text: bool = False, latents: bool = False) -> Piece:
        self.cache.reserve(max(end, first + num_tokens))
        hidden = self._room if is_text else (0, 0)
        return Piece(self.cache, self.slot, first, num_tokens, end, self.position, is_text, hidden, latents)
