"""Intervals and standard errors, docs/methods.md section 10. The unit is the problem; 95 % throughout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.summarise.results import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Z_95 = 1.959963984540054


def wilson(num_right: float, num: int) -> Interval:
    """Wilson's score interval of a share; NaN of nothing."""
    if not num:
        return Interval(nan, nan, nan)
    share, scale = num_right / num, 1.0 + Z_95**2 / num
    centre = (share + Z_95**2 / (2 * num)) / scale
    half = Z_95 / scale * sqrt(share * (1.0 - share) / num + Z_95**2 / (4 * num**2))
    # At 0 and 1 rounding would leave the estimate just outside.
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def standard_error(values: Floats, clusters: Sequence[Any] | None = None) -> float:
    """Standard error of the mean of (n,) values; NaN for fewer than two.

    Without clusters the central limit theorem's, sqrt(sum (x - m)^2 / ((n - 1) n)). With clusters (one label a value, such
    as the text that several questions share) the products of residuals inside a cluster are added (Miller 2411.00640).
    """
    n = len(values)
    if n < 2:
        return nan
    residuals = values - values.mean()
    variance = float((residuals**2).sum()) / ((n - 1) * n)
    if clusters is not None:
        _, place = np.unique(np.asarray(clusters), return_inverse=True)
        within = np.bincount(place, weights=residuals) ** 2 - np.bincount(place, weights=residuals**2)
        variance += float(within.sum()) / n**2
    return sqrt(max(variance, 0.0))


def mean_interval(values: Floats, clusters: Sequence[Any] | None = None, bounds: tuple[float, float] | None = None) -> Interval:
    """Mean of (n,) values and its normal interval, cut at `bounds` that the mean cannot pass.

    Values in [0, 1] that are all 0 or all 1 have no spread, and yet are not certain: they get Wilson's interval.
    """
    if not len(values):
        return Interval(nan, nan, nan)
    if bounds == (0.0, 1.0) and len(values) > 1 and clusters is None and ((values == 0).all() or (values == 1).all()):
        return wilson(float(values.sum()), len(values))
    mean, half = float(values.mean()), Z_95 * standard_error(values, clusters)
    low, high = mean - half, mean + half
    return Interval(mean, *((low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))))


def paired_difference(values: Floats, baseline: Floats, clusters: Sequence[Any] | None = None) -> Interval:
    """Mean of the differences problem by problem, (n,) each, with the interval of the differences."""
    return mean_interval(values - baseline, clusters, bounds=(-1.0, 1.0))


def bootstrap(values: Floats, statistic: Callable[[Floats], float], *, seed: int = 0, num_draws: int = 10_000) -> Interval:
    """A statistic of (n, ...) rows with its percentile interval over problems drawn with replacement. For non-means.

    Draws in which the statistic is NaN (an AUROC of one class) are left out.
    """
    if not len(values):
        return Interval(nan, nan, nan)
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(num_draws)])
    draws = draws[~np.isnan(draws)]
    low, high = np.percentile(draws, [2.5, 97.5]) if len(draws) else (nan, nan)
    return Interval(float(statistic(values)), float(low), float(high))
