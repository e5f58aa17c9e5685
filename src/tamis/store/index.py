"""Where each key's line is: 16 bytes a row, however many rows."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

_MIN_NEW = 1 << 16


class Index:
    """Keys to places: sorted arrays, and a dict for what came since they were sorted.

    A place is the offset of the line of a finished sample, or `~offset` (negative) of a failed one.
    """

    def __init__(self, keys: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        """Of distinct keys in ascending order (R,), and their places (R,)."""
        self._new: dict[int, int] = {}
        self._set(keys, places)

    def _set(self, keys: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        self._keys, self._places = keys, places
        self._view = keys.data  # bisect on it is twice as fast as searchsorted for one key
        self._new.clear()

    def count_finished(self) -> int:
        """How many samples are finished."""
        self._merge()
        return int(np.count_nonzero(self._places >= 0))

    def get(self, key: int) -> int | None:
        """The place of a key."""
        place = self._new.get(key)
        if place is None:
            row = bisect_left(self._view, key)
            if row < len(self._view) and self._view[row] == key:
                place = int(self._places[row])
        return place

    def put(self, key: int, place: int) -> None:
        """Give a key its place, in the stead of any it had."""
        self._new[key] = place
        if len(self._new) >= max(_MIN_NEW, len(self._keys) // 4):
            self._merge()

    def _merge(self) -> None:
        num_new = len(self._new)
        keys = np.concatenate((self._keys, np.fromiter(self._new.keys(), np.uint64, num_new)))
        places = np.concatenate((self._places, np.fromiter(self._new.values(), np.int64, num_new)))
        rows = last_rows(keys)
        self._set(keys[rows], places[rows])


def last_rows(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each distinct key, in ascending order, the last row that has it: keys (R,) -> rows (K,)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_last = np.ones(len(keys), np.bool_)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    return order[is_last]
