"""Which ids came before, in eight bytes each."""

from __future__ import annotations

import numpy as np

from tamis.columns import SortedRows

_MIN_NEW, _SHARE_NEW = 1 << 13, 64  # how many may wait to be sorted in
_MASK = (1 << 64) - 1


class Seen:
    """A set of texts, by their 64-bit hashes."""

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._rows = SortedRows(np.empty(0, np.uint64))

    def __contains__(self, text: str) -> bool:
        key = hash(text) & _MASK
        return key in self._new or self._rows.find(key) is not None

    def add(self, text: str) -> None:
        """Add one; nothing changes if it is there."""
        if text in self:
            return
        self._new.add(hash(text) & _MASK)
        if len(self._new) >= max(_MIN_NEW, len(self._rows) // _SHARE_NEW):
            self._rows.merge(np.fromiter(self._new, np.uint64, len(self._new)))
            self._new.clear()
