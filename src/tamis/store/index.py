"""Where each key's line is: 16 bytes a row, however many rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.columns import SortedRows

_MIN_NEW = 1 << 13
_SHARE_NEW = 64  # of all rows one in so many may be new, so that each row takes part in few merges


class Index:
    """Keys to places: sorted rows, and a dict for what came since they were sorted.

    A place is the offset of the line of a finished sample, or `~offset` (negative) of a failed one.
    """

    def __init__(self, keys: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        """Of distinct keys in ascending order (R,), and their places (R,)."""
        self._new: dict[int, int] = {}
        self._rows = SortedRows(keys, places)

    def count_finished(self) -> int:
        """How many samples are finished."""
        self._merge()
        return int(np.count_nonzero(self._rows.column(1) >= 0))

    def get(self, key: int) -> int | None:
        """The place of a key."""
        place = self._new.get(key)
        if place is None and (row := self._rows.find(key)) is not None:
            place = int(self._rows.column(1)[row])
        return place

    def put(self, key: int, place: int) -> None:
        """Give a key its place, in the stead of any it had."""
        self._new[key] = place
        if len(self._new) >= max(_MIN_NEW, len(self._rows) // _SHARE_NEW):
            self._merge()

    def _merge(self) -> None:
        num_new = len(self._new)
        keys = np.fromiter(self._new.keys(), np.uint64, num_new)
        self._rows.merge(keys, np.fromiter(self._new.values(), np.int64, num_new))
        self._new.clear()


def last_rows(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each distinct key, in ascending order, the last row that has it: keys (R,) -> rows (K,)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_last = np.ones(len(keys), np.bool_)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    return order[is_last]
