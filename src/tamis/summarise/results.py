"""What a comparison of methods says: plain values, read by tables, reports and files alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
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
    tokens: float = nan  # generated tokens a problem that the method then pays for; NaN where samples do not say


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The samples whose probability lies in one of 15 equal bins."""

    confidence: float  # their mean probability
    right: float  # the share of them that is right
    num: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be taken at their word; over `num` samples."""

    ece: float
    brier: float
    num: int
    bins: tuple[ReliabilityBin, ...]  # those that are not empty, rising


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """A method's choices from its most confident problem to its least; over `num` problems, one without confidence last."""

    aurc: float  # mean risk over all coverages; lower is better
    e_aurc: float  # the same above that of a perfect order
    num: int
    points: tuple[tuple[float, float], ...]  # (coverage, risk), at most 50


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
    auroc: float = nan  # of the score that it goes by, over all graded samples; NaN without a score
    auroc_within: float = nan  # the same, mean over the problems with right and wrong samples
    calibrated: Calibration | None = None  # of that score, made a probability by a fit that did not see the problem
    raw: Calibration | None = None  # of that score as it is, where it claims to be a probability
    risk_coverage: RiskCoverage | None = None  # None where the method has no confidence in its choices


@dataclass(frozen=True, slots=True)
class Health:
    """What stands beside every accuracy: how many samples, and what is wrong with them."""

    num_samples: int
    num_truncated: int
    num_unparseable: int
    num_ungraded: int
    num_failed: int
    unsent: Mapping[str, int] = field(default_factory=dict)  # samples drawn without a field that their server refuses

    def rate(self, count: int) -> float:
        """A count as a share of all samples; NaN of none."""
        return count / self.num_samples if self.num_samples else nan


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One method on the problems that share a value of a metadata field, such as subject or level."""

    field: str
    value: str
    method: str
    num_problems: int
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A method at a number of samples, on the problems of the frontier."""

    method: str
    num_samples: int
    tokens: float  # a problem; NaN where samples do not say
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Budget:
    """The best method when so many samples are drawn for each problem, and how sure that is."""

    best: FrontierPoint
    difference: Interval  # paired with one sample
    share_best: float  # of the resamples of the problems: those in which no other method is better at this number
    not_apart: tuple[str, ...]  # methods whose paired difference to the best has an interval that includes 0, best first


@dataclass(frozen=True, slots=True)
class Frontier:
    """Which method to use at which budget."""

    num_problems: int  # that take part: graded throughout, and known to all methods that take part
    num_methods: int  # that take part, one sample among them
    num_resamples: int
    budgets: tuple[Budget, ...]  # one for each number of samples, rising
    points: tuple[FrontierPoint, ...]  # those that no cheaper or equally dear point equals, rising in cost and accuracy
    enough: FrontierPoint  # the cheapest of them that is not measurably worse than the best budget
    left_out: tuple[str, ...] = ()  # methods that do not take part, for they lack their score on too many problems

    @property
    def best(self) -> Budget:
        """The budget of the highest accuracy; of equals, that of the fewest samples."""
        return max(self.budgets, key=lambda budget: (round(budget.best.accuracy.value, 9), -budget.best.num_samples))


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
    frontier: Frontier | None = None  # None without a graded problem of two samples


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
    for name, count in sorted(health.unsent.items()):
        lines.append(f"{count} of {health.num_samples} samples were drawn without {name}, which the server refuses")
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
