"""How well a score tells right from wrong, docs/methods.md section 10. `y` is 1 for right and 0 for wrong, (n,).

AUROC and the risk curves need only the order of the scores. ECE and Brier are for probabilities; other scores must be
calibrated first.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def auroc(scores: Floats, y: Floats) -> float:
    """Chance that a right sample scores above a wrong one, ties counting one half (Mann-Whitney); NaN of one class."""
    num_right = float(y.sum())
    num_wrong = len(y) - num_right
    if not num_right or not num_wrong:
        return nan
    _, group = np.unique(scores, return_inverse=True)
    wrong = np.bincount(group, weights=1.0 - y)
    below = np.cumsum(wrong) - wrong
    return float((np.bincount(group, weights=y) * (below + 0.5 * wrong)).sum() / (num_right * num_wrong))


def auroc_within(scores: Floats, y: Floats, problem: NDArray[np.integer]) -> float:
    """Mean of the AUROCs of single problems, of those that have both classes; NaN of none. `problem` is a number (n,)."""
    if not len(y):
        return nan
    order = np.lexsort((scores, problem))
    scores, y, problem = scores[order], y[order], problem[order]
    opens = np.r_[True, problem[1:] != problem[:-1]]
    group = np.cumsum(opens | np.r_[True, scores[1:] != scores[:-1]]) - 1  # of equal scores in one problem
    place = np.cumsum(opens) - 1
    right, wrong = np.bincount(group, weights=y), np.bincount(group, weights=1.0 - y)
    of_problem = place[np.r_[True, group[1:] != group[:-1]]]
    num_right, num_wrong = np.bincount(place, weights=y), np.bincount(place, weights=1.0 - y)
    below = np.cumsum(wrong) - wrong - (np.cumsum(num_wrong) - num_wrong)[of_problem]
    wins = np.bincount(of_problem, weights=right * (below + 0.5 * wrong))
    both = (num_right > 0) & (num_wrong > 0)
    return float((wins[both] / (num_right * num_wrong)[both]).mean()) if both.any() else nan


def bin_of(confidence: Floats, num_bins: int = 15) -> NDArray[np.intp]:
    """Which of equal bins (low, high] of [0, 1] each probability falls into, (n,); 0 falls into the first."""
    return np.digitize(confidence, np.linspace(0.0, 1.0, num_bins + 1)[1:-1], right=True)


def ece(confidence: Floats, y: Floats, num_bins: int = 15) -> float:
    """Expected calibration error of probabilities in [0, 1] over equal bins (low, high]; NaN of nothing."""
    if not len(y):
        return nan
    place = bin_of(confidence, num_bins)
    gaps = np.bincount(place, weights=confidence, minlength=num_bins) - np.bincount(place, weights=y, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(y))


def brier(confidence: Floats, y: Floats) -> float:
    """Mean squared difference of probability and truth; NaN of nothing."""
    return float(((confidence - y) ** 2).mean()) if len(y) else nan


def risks(scores: Floats, y: Floats) -> Floats:
    """Share of wrong ones among the i most confident, (n,) for i = 1..n; equal scores share their group's mean."""
    _, group, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    wrong = np.repeat(np.bincount(group, weights=1.0 - y) / counts, counts)
    return np.asarray(np.cumsum(wrong) / np.arange(1, len(y) + 1))


def aurc(scores: Floats, y: Floats) -> float:
    """Area under the risk-coverage curve: mean of `risks`; lower is better; NaN of nothing."""
    return float(risks(scores, y).mean()) if len(y) else nan


def e_aurc(scores: Floats, y: Floats) -> float:
    """AURC above that of a perfect order, >= 0; NaN of nothing."""
    return aurc(scores, y) - aurc(y, y)
