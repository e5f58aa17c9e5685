"""Giving a sample up while it is being drawn: where its confidence falls below a bar (`records.Watch`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.records import STATISTICS, TokenStats, Watch

_SUM_TOP20 = STATISTICS.index("sum_top20")
_ROOM = 256  # tokens a row's sums hold at first; doubled as needed


def tokens_until_cut(stats: TokenStats, watch: Watch) -> int | None:
    """After how many tokens a sample is given up; None: never."""
    watches = Watches(1, stats.vocab_size)
    watches.begin(0, watch, stats.values[:0])
    for length in range(1, len(stats) + 1):
        if watches.add(np.array([0]), np.array([length]), stats.values[length - 1 : length])[0]:
            return length
    return None


class Watches:
    """The watches of the rows of a batch; a step costs the same few operations however many there are.

    Sums run from a row's first token on and a window is the difference of two of them, as `score.sequence.group_confidence`
    has it: so both say the same to the last bit.
    """

    def __init__(self, num_rows: int, vocab_size: int) -> None:
        self.rows: set[int] = set()  # that are watched
        self._num_top = min(20, vocab_size)
        self._window = np.ones(num_rows, dtype=np.int64)
        self._least = np.full(num_rows, -np.inf)
        self._sums = np.zeros((num_rows, _ROOM + 1))  # of the confidence of the first 0, 1, ... tokens

    def begin(self, row: int, watch: Watch, values: NDArray[np.float32]) -> None:
        """Watch a row whose tokens so far have these statistics (T, 9)."""
        self.rows.add(row)
        self._window[row], self._least[row] = watch.window, watch.least
        self._reserve(len(values))
        np.cumsum(self._confidence(values), out=self._sums[row, 1 : len(values) + 1])

    def add(self, rows: NDArray[np.int64], lengths: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Take one more token in each of these rows: their lengths (R,) with it, its statistics (R, 9). Which to give up."""
        self._reserve(int(lengths.max(initial=0)))
        confidence, window = self._confidence(values), self._window[rows]
        sums = self._sums[rows, lengths - 1] + confidence
        self._sums[rows, lengths] = sums
        group = (sums - self._sums[rows, np.maximum(lengths - window, 0)]) / window
        group = np.where(window == 1, confidence, group)
        return np.asarray((lengths >= window) & (group < self._least[rows]))

    def _confidence(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Token confidence (T,): minus the mean of the 20 largest log-probabilities."""
        return -values[:, _SUM_TOP20].astype(np.float64) / self._num_top

    def _reserve(self, length: int) -> None:
        room = self._sums.shape[1] - 1
        if length > room:
            self._sums = np.pad(self._sums, ((0, 0), (0, max(length, 2 * room) - room)))
