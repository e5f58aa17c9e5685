"""What a comparison of methods says: plain values, read by tables, reports and files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; `low` and `high` are NaN where none is defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy when only `num_samples` of the pool's samples are drawn for each problem."""

    num_samples: int
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method on the whole pool."""

    method: str
    accuracy: Interval
    difference: Interval | None  # paired with one sample (the mean over the pool); None for that line itself
    num_problems: int  # problems that count: those with a reference and a graded choice
    num_abstained: int  # problems where the method chose nothing; they count as wrong
    tokens_per_problem: float  # generated tokens that the method pays for
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """What stands beside every accuracy: how many samples, and what is wrong with them."""

    num_samples: int
    num_truncated: int
    num_unparseable: int
    num_ungraded: int
    num_failed: int

    def rate(self, count: int) -> float:
        """A count as a share of all samples; NaN of none."""
        return count / self.num_samples if self.num_samples else float("nan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """All methods on one pool of samples."""

    num_problems: int
    samples_per_problem: int  # the smallest number over the problems; curves end there
    methods: Sequence[MethodResult]
    pass_at_k: Sequence[CurvePoint]
    health: Health
    left_out: Sequence[str] = field(default_factory=tuple)  # one line a reason: what was left out of the numbers, and why
