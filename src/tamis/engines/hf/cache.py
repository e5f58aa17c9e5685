"""The key-value cache of a batch of slots: position p of a row lies at column p of the row's own slot.

A row's keys and values therefore lie where they would if it were alone, whatever its neighbours do and whenever it was
admitted; columns past its position are masked. Attention reads the columns up to the next `bucket`, and on a CPU
neither the number of columns nor the other rows change a bit of a row's result (tests/engines/hf/test_hf_determinism.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

BUCKET = 64
WHOLE_SUM = 192  # positions
LONG_BUCKET = 512


def bucket(length: int) -> int:
    """The number of columns that hold `length` positions.

    Steps of 64 up to 192, of 512 beyond: a row's bits must not depend on how many columns its neighbours need. Measured on two
    CPUs: 300 positions gave other bits in 448 columns than in 384 (AVX-512), 200 positions in 256 or 320 than in 384 (AVX2).
    With these steps no difference was found up to 2,048 columns; the tests hold that.
    """
    step = BUCKET if length <= WHOLE_SUM else LONG_BUCKET
    return -(-length // step) * step


class Prefix(NamedTuple):
    """The cached positions 0 .. length - 1 of one sequence: what a slot is filled with."""

    length: int
    keys: tuple[Tensor, ...]  # a layer: (1, H, length, D); none when the length is 0
    values: tuple[Tensor, ...]
    offset: int = 0  # from the length to the position that the model gives the next token: a picture counts by its sides


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values, (B, H, columns, D). Made when the first of them arrive, grown by half as needed."""

    is_sliding = False  # sliding attention is a matter of the mask: all positions are kept

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate zeros for all rows, for heads and sizes like these (., H, ., D)."""
        self.keys, self.values = (self._zeros(like) for like in (key_states, value_states))
        self.is_initialized = True

    def _zeros(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.cache.num_rows, like.shape[1], self.cache.columns, like.shape[3])

    def fit(self) -> None:
        """Grow to the cache's number of columns."""
        if self.is_initialized and self.keys.shape[2] < self.cache.columns:
            for name in ("keys", "values"):
                old = getattr(self, name)
                new = self._zeros(old)
                new[:, :, : old.shape[2]] = old
                setattr(self, name, new)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one position of the first R rows, (R, H, 1, D); return what they attend to, (R, H, length, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self.cache
        self.keys[cache.rows, :, cache.positions] = key_states[:, :, 0]
        self.values[cache.rows, :, cache.positions] = value_states[:, :, 0]
        num_rows = len(key_states)
        return self.keys[:num_rows, :, : cache.length], self.values[:num_rows, :, : cache.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the signature is transformers'
        """Columns attended to, and the first of them."""
        return self.cache.length, 0

    def get_seq_length(self) -> int:
        """The past, as far as models that ask are concerned: the columns before the last."""
        return self.cache.length - 1

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


class SlotCache(Cache):  # type: ignore[misc]
    """A cache of `num_rows` slots for `num_layers` layers; `place` before each step, `fill` at each admission."""

    def __init__(self, num_rows: int, num_layers: int) -> None:
        self.num_rows = num_rows
        self.columns = BUCKET  # allocated
        self.length = BUCKET  # attended to
        self.rows = self.positions = torch.empty(0, dtype=torch.long)
        super().__init__(layers=[SlotLayer(self) for _ in range(num_layers)])

    def place(self, positions: Tensor) -> None:
        """Say where the next token of the first R rows goes: positions (R,)."""
        self.positions = positions
        if len(self.rows) != len(positions) or self.rows.device != positions.device:
            self.rows = torch.arange(len(positions), device=positions.device)

    def reserve(self, length: int) -> None:
        """Attend to `length` positions from now on, and have room for them."""
        self.length = bucket(length)
        if self.columns < self.length:
            self.columns = max(self.length, bucket(self.columns + self.columns // 2))
        for layer in self.layers:
            layer.fit()

    def fill(self, row: int, prefix: Prefix) -> None:
        """Copy the positions of a prefix into a row's slot; `reserve` has made the room."""
        for layer, keys, values in zip(self.layers, prefix.keys, prefix.values, strict=False):
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values)
            layer.keys[row, :, : prefix.length] = keys[0]
            layer.values[row, :, : prefix.length] = values[0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one row over another row."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def extract(self, row: int, length: int) -> Prefix:
        """The first `length` positions of a row, copied to host memory."""
        layers = [layer for layer in self.layers if layer.is_initialized]
        keys = tuple(layer.keys[row : row + 1, :, :length].to("cpu", copy=True) for layer in layers)
        values = tuple(layer.values[row : row + 1, :, :length].to("cpu", copy=True) for layer in layers)
        return Prefix(length, keys, values)


class SharedLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values of a prefix, before those of any number of rows. Nothing is kept of the rows."""

    is_sliding = False  # as in `SlotLayer`

    def __init__(self, length: int, keys: Tensor | None, values: Tensor | None) -> None:
        super().__init__()
        self.length, self.keys, self.values = length, keys, values  # (1, H, length, D); none when the length is 0
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the prefix is there."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """What rows with keys and values (B, H, Q, D) attend to: (B, H, length + Q, D)."""
        if self.keys is None or self.values is None:
            return key_states, value_states
        size = (len(key_states), -1, -1, -1)
        return torch.cat((self.keys.expand(size), key_states), 2), torch.cat((self.values.expand(size), value_states), 2)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns attended to, and the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """The past: the prefix."""
        return self.length

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


class SharedCache(Cache):  # type: ignore[misc]
    """A cache by which the rows of one forward pass, or of several, all go on after the same prefix."""

    def __init__(self, prefix: Prefix, num_layers: int) -> None:
        nothing = [(None, None)] * num_layers
        pairs = zip(prefix.keys, prefix.values, strict=True) if prefix.length else nothing
        self.offset = prefix.offset
        super().__init__(layers=[SharedLayer(prefix.length, keys, values) for keys, values in pairs])


def prefill(
    model: PreTrainedModel,
    ids: list[int],
    device: torch.device,
    after: Prefix | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> Prefix:
    """Run a prompt once, alone, or go on after a prefix of text: the keys and values of all positions.

    `beside` is what the model takes of the prompt's images; what it says of each token may go on after `ids`.
    """
    before = after or Prefix(0, (), ())
    if not ids:
        return before
    cache = DynamicCache()  # without a configuration: layers of sliding attention keep all positions too
    for layer, (keys, values) in enumerate(zip(before.keys, before.values, strict=True)):
        cache.update(keys, values, layer)
    tokens = torch.tensor([ids], device=device)
    options = _options(beside or {}, len(ids), device)
    try:
        model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1, **options)
    finally:  # after running out of memory too
        offset = _take_offset(model)
    length = before.length + len(ids)
    return Prefix(length, tuple(layer.keys for layer in cache.layers), tuple(layer.values for layer in cache.layers), offset)


def _options(beside: Mapping[str, Tensor], length: int, device: torch.device) -> dict[str, Tensor]:
    of_tokens = ("mm_token_type_ids", "token_type_ids")
    return {name: (value[:, :length] if name in of_tokens else value).to(device) for name, value in beside.items()}


def _take_offset(model: PreTrainedModel) -> int:
    """The offset that a model with positions in three dimensions has just found, taken from it: it is no other text's."""
    found = getattr(model.base_model, "rope_deltas", None)
    if found is None:
        return 0
    model.base_model.rope_deltas = None
    return int(found.item())
