"""Millions of 64-bit keys in eight bytes each, and numbers beside them: sorted columns, in memory that can be given back."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
_FEW = 32  # one in so many


class SortedRows:
    """Rows of which the first column, distinct keys, is ascending."""

    def __init__(self, keys: NDArray[np.uint64], *others: Column) -> None:
        """Columns (R,), which are copied."""
        self._num_rows = len(keys)
        self._columns = [_with_room(column) for column in (keys, *others)]
        self._view = self._columns[0].data  # bisect on it is twice as fast as searchsorted for one key

    def __len__(self) -> int:
        return self._num_rows

    def column(self, place: int) -> Column:
        """A column (R,), until the next `merge`."""
        return self._columns[place][: self._num_rows]

    def find(self, key: int) -> int | None:
        """The row of a key."""
        row = bisect_left(self._view, key, 0, self._num_rows)
        return row if row < self._num_rows and self._view[row] == key else None

    def merge(self, keys: NDArray[np.uint64], *others: Column) -> None:
        """Take in rows (N,) with distinct keys in any order; a key that is there gets the new numbers."""
        order = np.argsort(keys)
        keys, others = keys[order], tuple(values[order] for values in others)
        rows = np.searchsorted(self.column(0), keys)
        is_known = np.zeros(len(keys), np.bool_)
        inside = rows < len(self)
        is_known[inside] = self.column(0)[rows[inside]] == keys[inside]
        for place, values in enumerate(others, start=1):
            self.column(place)[rows[is_known]] = values[is_known]
        rows = rows[~is_known]
        for place, values in enumerate((keys, *others)):  # the old column goes before the next one is copied
            self._columns[place] = _insert(self._columns[place], self._num_rows, rows, values[~is_known])
        self._num_rows += len(rows)
        self._view = self._columns[0].data


def _pages(size: int, like: Column) -> Column:
    """Zeros, with room for an eighth more than `size`, in pages of their own: a heap may keep what it gets back."""
    return np.frombuffer(mmap.mmap(-1, (size + size // 8 + 1) * like.itemsize), like.dtype)


def _with_room(column: Column) -> Column:
    copy = _pages(len(column), column)
    copy[: len(column)] = column
    return copy


def _insert(column: Column, end: int, rows: NDArray[np.intp], values: Column) -> Column:
    """Put values (N,) before rows (N,), ascending, of a column that ends at `end`; few are put in where it lies."""
    size = end + len(rows)
    if size > len(column) or len(rows) > end // _FEW:
        larger, is_old = _pages(size, column), np.ones(size, np.bool_)
        places = rows + np.arange(len(rows))
        is_old[places] = False
        larger[places] = values
        np.place(larger[:size], is_old, column[:end])
        return larger
    for i in range(len(rows) - 1, -1, -1):  # from the last, so that each value is moved once
        row = int(rows[i])
        column[row + i + 1 : end + i + 1] = column[row:end]
        column[row + i] = values[i]
        end = row
    return column
