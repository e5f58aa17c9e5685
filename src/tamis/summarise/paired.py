"""Two evaluations of the same problems, problem by problem: who won where, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from tamis.summarise.intervals import paired_difference, wilson
from tamis.summarise.results import Interval


@dataclass(frozen=True, slots=True)
class Paired:
    """What two columns of right and wrong say of each other."""

    first: Interval  # accuracy, Wilson's interval
    second: Interval
    difference: Interval  # second - first, paired; the normal interval
    num_both: int  # right in both
    num_neither: int
    num_first: int  # right in the first alone
    num_second: int
    p_value: float  # McNemar's exact test, two-sided

    @property
    def num_problems(self) -> int:
        """How many were compared."""
        return self.num_both + self.num_neither + self.num_first + self.num_second


def mcnemar(num_first: int, num_second: int) -> float:
    """Chance that fair coins part so many discordant pairs at least as unevenly, two-sided, exact; 1 where there are none."""
    num = num_first + num_second
    tail = sum(comb(num, k) for k in range(min(num_first, num_second) + 1))
    return float(min(1.0, 2 * tail / 2**num))


def paired(first: list[bool], second: list[bool]) -> Paired:
    """Compare two columns of equal length."""
    a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    both, won, lost = (int(count) for count in ((a * b).sum(), (b * (1 - a)).sum(), (a * (1 - b)).sum()))
    return Paired(
        first=wilson(a.sum(), len(a)),
        second=wilson(b.sum(), len(b)),
        difference=paired_difference(b, a),
        num_both=both,
        num_neither=len(a) - both - won - lost,
        num_first=lost,
        num_second=won,
        p_value=mcnemar(lost, won),
    )
