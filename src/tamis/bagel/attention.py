"""Who sees what in a forward pass: `Pack`, pieces of several contexts at once, and `Step`, one token of every row.

A pack runs every piece against its own context and nothing else, in shapes that are the piece's alone: what a piece gives
does not depend on what it is packed with. (The linear layers see all rows together; see `padding`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from tamis.bagel.cache import Cache, Piece
from tamis.bagel.padding import padded

BLOCK_TOKENS = 512
STEP_COLUMNS = 64  # a step sees a multiple of so many columns, whose kernels agree to the bit


class Pack:
    """Pieces that advance together. Tokens are numbered as they come; rows as the transformer wants them."""

    def __init__(self, pieces: Sequence[Piece], device: torch.device) -> None:
        self.pieces = pieces
        kinds: list[bool] = []  # is it a latent?
        positions: list[int] = []
        for piece in pieces:
            inner = piece.num_tokens - 2
            kinds += [False, *[True] * inner, False] if piece.latents else [False] * piece.num_tokens
            offsets = range(piece.num_tokens) if piece.is_text else [0] * piece.num_tokens
            positions += [piece.position + offset for offset in offsets]
        is_latent = torch.tensor(kinds)
        plain, latent = (~is_latent).nonzero()[:, 0], is_latent.nonzero()[:, 0]
        dtype = pieces[0].cache.dtype
        self.split = padded(len(plain), device, dtype)
        self.num_rows = self.split + padded(len(latent), device, dtype)
        rows = torch.empty(len(kinds), dtype=torch.long)
        rows[plain], rows[latent] = torch.arange(len(plain)), torch.arange(len(latent)) + self.split
        spread = torch.zeros(self.num_rows, dtype=torch.long)
        spread[rows] = torch.tensor(positions)
        self.rows = rows.to(device)  # of each token
        self.positions = spread.to(device)  # of each row
        self.latents = latent.to(device)  # the tokens that are latents
        self._blocks = [_blocks(piece, device) for piece in pieces]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`: pieces are taken in order, so that two may use the same columns one after the other."""
        q, k, v = q[self.rows], k[self.rows], v[self.rows]  # as tokens
        seen = []
        start = 0
        for piece, blocks in zip(self.pieces, self._blocks, strict=True):
            tokens = slice(start, start + piece.num_tokens)
            columns = slice(piece.first, piece.first + piece.num_tokens)
            keys, values = piece.cache.keys[layer][piece.slot], piece.cache.values[layer][piece.slot]
            keys[:, columns], values[:, columns] = k[tokens].transpose(0, 1), v[tokens].transpose(0, 1)
            for block in blocks:
                queries = q[start + block.begin : start + block.stop]
                seen.append(_attention(queries, keys[:, : block.end], values[:, : block.end], block.mask))
            start += piece.num_tokens
        out = q.new_zeros(self.num_rows, *q.shape[1:])
        out[self.rows] = torch.cat(seen)
        return out

    def spread(self, tokens: Tensor) -> Tensor:
        """Tokens (T, d) as rows (M, d); rows that stand for nothing are zero."""
        return tokens.new_zeros(self.num_rows, tokens.shape[-1]).index_copy_(0, self.rows, tokens)


class Step:
    """One token of every slot, appended at its column (slots,); slots that do not matter write where nothing is yet."""

    def __init__(self, cache: Cache, columns: Tensor, positions: Tensor, num_columns: int) -> None:
        num_slots = len(columns)
        self.num_rows = self.split = padded(num_slots, columns.device, cache.dtype)
        self.positions = pad(positions, (0, self.num_rows - num_slots))
        self._cache = cache
        self._columns = columns
        self._slots = torch.arange(num_slots, device=columns.device)
        self._num_columns = num_columns + -num_columns % STEP_COLUMNS
        cache.reserve(self._num_columns)
        mask = torch.arange(self._num_columns, device=columns.device) <= columns[:, None]
        self._mask = mask[:, None, None]  # (slots, 1, 1, columns)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`."""
        num_slots = len(self._slots)
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._slots, :, self._columns] = k[:num_slots]
        values[self._slots, :, self._columns] = v[:num_slots]
        grouped = q[:num_slots].unflatten(1, (keys.shape[1], -1))  # (slots, KV heads, heads a KV head, D)
        shown, groups = slice(self._num_columns), grouped.shape[2]
        if q.device.type == "cpu":  # whose threads give an odd number of queries other bits
            grouped = pad(grouped, (0, 0, 0, groups % 2))
        seen = scaled_dot_product_attention(grouped, keys[:, :, shown], values[:, :, shown], attn_mask=self._mask)
        out = torch.zeros_like(q)
        out[:num_slots] = seen[:, :, :groups].flatten(1, 2)
        return out


class _Block(NamedTuple):
    begin: int  # tokens of a piece, from here to before `stop`
    stop: int
    end: int  # they see the columns before this one
    mask: Tensor | None  # (T, columns)


def _blocks(piece: Piece, device: torch.device) -> list[_Block]:
    """A picture in one block; a text in several, for its masks grow with the square of the tokens."""
    if not piece.is_text:
        return [_Block(0, piece.num_tokens, piece.end, None)]
    starts = range(0, piece.num_tokens, BLOCK_TOKENS)
    return [_causal(piece, start, min(start + BLOCK_TOKENS, piece.num_tokens), device) for start in starts]


def _causal(piece: Piece, begin: int, stop: int, device: torch.device) -> _Block:
    end = piece.first + stop
    columns = torch.arange(end, device=device)
    own = torch.arange(piece.first + begin, end, device=device)
    hidden_from, hidden_to = piece.hidden
    return _Block(begin, stop, end, (columns <= own[:, None]) & ((columns < hidden_from) | (columns >= hidden_to)))


def _attention(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Queries (T, H, D) of a piece over keys and values (KV heads, columns, D): (T, H, D).

    The heads that share a KV head are folded into the queries: no kernel has to repeat keys.
    """
    num_tokens, num_heads, head_dim = q.shape
    num_kv_heads = len(keys)
    groups = num_heads // num_kv_heads
    folded = q.unflatten(1, (num_kv_heads, groups)).permute(1, 2, 0, 3).flatten(1, 2)  # (KV heads, groups T, D)
    shown = mask.repeat(groups, 1) if mask is not None else None
    seen = scaled_dot_product_attention(folded[None], keys[None], values[None], attn_mask=shown)[0]
    return seen.unflatten(1, (groups, num_tokens)).permute(2, 0, 1, 3).reshape(num_tokens, num_heads, head_dim)
