"""Token statistics in a vLLM worker, from the step that takes them until somebody asks: by key, a row a token.

A request asks for them with a key of its own, in `SamplingParams.extra_args[KEY]` (over HTTP: `vllm_xargs`), and draws one
sequence. Rows are kept under the key and the token's position: one that is taken twice, after a preemption, is the same row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tamis.records import STATISTICS

if TYPE_CHECKING:
    from torch import Tensor

KEY = "tamis"
MOST_BYTES = 1 << 30  # of what nobody takes
_ROOM = 64  # tokens a sequence has room for at first; doubled as needed
_STEPS_ON_DEVICE = 64  # steps whose rows may wait in a GPU's memory, so that it is waited for once in so many


class _Rows:
    """The states (T, STATE) and ids (T,) of one sequence; an id of -1: nothing is known of that token."""

    def __init__(self, state_size: int, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.length = 0
        self.states = np.full((_ROOM, state_size), np.nan, dtype=np.float32)
        self.ids = np.full(_ROOM, -1, dtype=np.int32)

    @property
    def num_bytes(self) -> int:
        return self.states.nbytes + self.ids.nbytes

    def put(self, position: int, state: NDArray[np.float32], token: int) -> None:
        room = len(self.ids)
        if position >= room:
            more = max(position + 1, 2 * room) - room
            self.states = np.pad(self.states, ((0, more), (0, 0)), constant_values=np.nan)
            self.ids = np.pad(self.ids, (0, more), constant_values=-1)
        self.states[position], self.ids[position] = state, token
        self.length = max(self.length, position + 1)


class Store:
    """The statistics of the sequences that are being drawn, and of those that nobody has taken yet."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._rows: OrderedDict[str, _Rows] = OrderedDict()  # the longest untouched first
        self._num_bytes = 0
        self._most_bytes = most_bytes
        self._on_device: list[tuple[Sequence[tuple[str, int]], Tensor, Tensor, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        places: Sequence[tuple[str, int]],
        states: NDArray[np.float32],
        ids: NDArray[np.integer],
        vocab_size: int,
    ) -> None:
        """Keep the states (R, STATE) of the tokens ids (R,) of one step, each at its place: key and position.

        Only the first token of a sequence opens it: what comes of one that was taken or dropped is late, and lost.
        """
        for (key, position), state, token in zip(places, states, ids.tolist(), strict=True):
            rows = self._rows.get(key)
            if rows is None:
                if position:
                    continue
                rows = self._rows[key] = _Rows(states.shape[-1], vocab_size)
                self._num_bytes += rows.num_bytes
            before = rows.num_bytes
            rows.put(position, state, token)
            self._num_bytes += rows.num_bytes - before
            self._rows.move_to_end(key)
        while self._num_bytes > self._most_bytes and len(self._rows) > 1:
            self._num_bytes -= self._rows.popitem(last=False)[1].num_bytes

    def add_later(self, places: Sequence[tuple[str, int]], states: Tensor, ids: Tensor, vocab_size: int) -> None:
        """`add` of tensors on a device, without waiting for it now."""
        self._on_device.append((places, states, ids, vocab_size))
        if len(self._on_device) >= _STEPS_ON_DEVICE:
            self._fetch()

    def _fetch(self) -> None:
        waiting, self._on_device = self._on_device, []
        for places, states, ids, vocab_size in waiting:
            self.add(places, states.cpu().numpy(), ids.cpu().numpy(), vocab_size)

    def take(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The packed statistics of sequences, which are forgotten; keys of which nothing is known are absent."""
        from tamis.engines.token_stats import statistics

        self._fetch()
        taken = {key: rows for key in keys if (rows := self._rows.pop(key, None)) is not None}
        if not taken:
            return {}
        self._num_bytes -= sum(rows.num_bytes for rows in taken.values())
        states = np.concatenate([rows.states[: rows.length] for rows in taken.values()])
        with np.errstate(invalid="ignore"):
            values = statistics(states)
        packed: dict[str, bytes] = {}
        start = 0
        for key, rows in taken.items():
            end = start + rows.length
            packed[key] = pack(values[start:end], rows.ids[: rows.length], rows.vocab_size)
            start = end
        return packed

    def look(self, key: str, start: int) -> NDArray[np.float32]:
        """The statistics (T - start, 9) of a sequence from token `start` on, as far as there are any yet."""
        from tamis.engines.token_stats import statistics

        self._fetch()
        rows = self._rows.get(key)
        return statistics(rows.states[start : rows.length]) if rows else np.empty((0, len(STATISTICS)), np.float32)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget sequences."""
        self._fetch()
        for key in keys:
            if (rows := self._rows.pop(key, None)) is not None:
                self._num_bytes -= rows.num_bytes


STORE = Store()
"""Of this process."""


def pack(values: NDArray[np.float32], ids: NDArray[np.int32], vocab_size: int) -> bytes:
    """T and V as int32, then values (T, 9) as float32, then ids (T,) as int32; all little-endian."""
    head = np.array([len(ids), vocab_size], dtype="<i4")
    return head.tobytes() + values.astype("<f4").tobytes() + ids.astype("<i4").tobytes()


def unpack(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.int32], int]:
    """Values (T, 9), ids (T,) and V of what `pack` wrote.

    Raises:
        ValueError: It is something else.
    """
    length, vocab_size = np.frombuffer(data, "<i4", count=2).tolist()
    middle = 8 + 4 * length * len(STATISTICS)
    if length < 0 or len(data) != middle + 4 * length:
        raise ValueError(f"{len(data)} bytes are not the statistics of {length} tokens")
    values = np.frombuffer(data[8:middle], "<f4").reshape(length, len(STATISTICS))
    return values, np.frombuffer(data[middle:], "<i4"), vocab_size


def merge(parts: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    """What all workers together know of each key: they may have sampled in turns."""
    merged: dict[str, bytes] = {}
    for part in parts:
        for key, data in part.items():
            merged[key] = _filled(merged[key], data) if key in merged else data
    return merged


def _filled(first: bytes, second: bytes) -> bytes:
    """The longer of two, with the tokens that it does not know taken from the other."""
    if len(second) > len(first):
        first, second = second, first
    (values, ids, vocab_size), (others, other_ids, _) = unpack(first), unpack(second)
    missing = np.flatnonzero(ids[: len(other_ids)] < 0)
    if not len(missing):
        return first
    values, ids = values.copy(), ids.copy()
    values[missing], ids[missing] = others[missing], other_ids[missing]
    return pack(values, ids, vocab_size)
