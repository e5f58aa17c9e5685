"""What a comparison of methods says: plain values, read by tables, reports and files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

ONE_SAMPLE = "one sample"
"""The line of one sample drawn at random: the mean over the pool."""

ORACLE = "oracle"
"""The line of a selector that always finds a right sample where there is one."""


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
    tokens_per_problem: float  # generated tokens that the method pays for; NaN where samples do not say
    curve: tuple[CurvePoint, ...] = ()
    auroc: float = float("nan")  # of the score that it goes by, over all graded samples; NaN without a score
    auroc_within: float = float("nan")  # the same, mean over the problems with right and wrong samples


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
class GroupResult:
    """One method on the problems that share a value of a metadata field, such as subject or level."""

    field: str
    value: str
    method: str
    num_problems: int
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """All methods on one pool of samples."""

    num_problems: int
    samples_per_problem: int  # the smallest number over the problems; curves end there
    methods: Sequence[MethodResult]
    pass_at_k: Sequence[CurvePoint]
    health: Health
    left_out: Sequence[str] = field(default_factory=tuple)  # one line a reason: what was left out of the numbers, and why
    groups: Sequence[GroupResult] = ()


TRUNCATED_LIMIT = 0.02


def health_warnings(health: Health) -> list[str]:
    """One line for each thing that makes the accuracies doubtful; none when all is well."""
    lines = []
    if health.num_truncated > TRUNCATED_LIMIT * health.num_samples:
        lines.append(
            f"{health.rate(health.num_truncated):.1%} of the samples were cut at the token limit "
            f"({health.num_truncated} of {health.num_samples}): accuracies may be too low. Raise --max-tokens"
        )
    if health.num_failed:
        lines.append(f"{health.num_failed} of {health.num_samples} samples failed and take part in nothing")
    return lines


def to_json(comparison: Comparison) -> dict[str, Any]:
    """As a plain dict, for summary.json: NaN becomes null."""
    plain = _plain(asdict(comparison))
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
