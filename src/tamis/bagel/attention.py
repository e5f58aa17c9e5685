"""Who sees what in a forward pass: `Pack`, pieces of several contexts at once, and `Step`, one token of every row.

A pack runs every piece against its own context and nothing else, in shapes that are the piece's alone: what a piece gives
does not depend on what it is packed with. (The linear layers see all rows together. On a CPU in fp32 a row's result does
not depend on the others as soon as there are enough of them: `FEWEST_ROWS`.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tamis.bagel.cache import Cache, Piece

FEWEST_ROWS = 16
"""Fewer take other matrix kernels on a CPU, whose sums run in another order."""

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
        self.split = max(len(plain), FEWEST_ROWS)
        self.num_rows = self.split + (max(len(latent), FEWEST_ROWS) if len(latent) else 0)
        rows = torch.empty(len(kinds), dtype=torch.long)
        rows[plain], rows[latent] = torch.arange(len(plain)), torch.arange(len(latent)) + self.split
        spread = torch.zeros(self.num_rows, dtype=torch.long)
        spread[rows] = torch.tensor(positions)
        self.rows = rows.to(device)  # of each token
        self.positions = spread.to(device)  # of each row
        self.latents = latent.to(device)  # the tokens that are latents
        self._masks = [_causal(piece, device) if piece.is_text else None for piece in pieces]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`: pieces are taken in order, so that two may use the same columns one after the other."""
        q, k, v = q[self.rows], k[self.rows], v[self.rows]  # as tokens
        seen = []
        start = 0
        for piece, mask in zip(self.pieces, self._masks, strict=True):
            tokens = slice(start, start + piece.num_tokens)
            columns = slice(piece.first, piece.first + piece.num_tokens)
            keys, values = piece.cache.keys[layer][piece.slot], piece.cache.values[layer][piece.slot]
            keys[:, columns], values[:, columns] = k[tokens].transpose(0, 1), v[tokens].transpose(0, 1)
            seen.append(_attention(q[tokens], keys[:, : piece.end], values[:, : piece.end], mask))
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
        self.num_rows = self.split = max(num_slots, FEWEST_ROWS)
        self.positions = torch.nn.functional.pad(positions, (0, self.num_rows - num_slots))
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
        shown = slice(self._num_columns)
        seen = scaled_dot_product_attention(grouped, keys[:, :, shown], values[:, :, shown], attn_mask=self._mask)
        out = torch.zeros_like(q)
        out[:num_slots] = seen.flatten(1, 2)
        return out


def _causal(piece: Piece, device: torch.device) -> Tensor:
    """What each token of a text sees (T, columns)."""
    columns = torch.arange(piece.end, device=device)
    own = torch.arange(piece.first, piece.first + piece.num_tokens, device=device)
    begin, end = piece.hidden
    return (columns <= own[:, None]) & ((columns < begin) | (columns >= end))


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
