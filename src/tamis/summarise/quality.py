"""What a method's scores and confidences are worth, from the numbers of the problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.score.registry import SCORERS
from tamis.select.methods import Method
from tamis.summarise import calibration, isotonic
from tamis.summarise.collect import ProblemNumbers
from tamis.summarise.results import Calibration, ReliabilityBin, RiskCoverage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_POINTS = 50


def score_quality(problems: Sequence[ProblemNumbers], method: Method) -> dict[str, Any]:
    """The fields `auroc` ... `raw` of `MethodResult` for the method that has the name of its score; none for any other.

    AUROCs count a missing score as the lowest, as selection does; calibration is of the scores that there are.
    """
    if method.scorer is None or method.scorer != method.name or not problems:
        return {}
    scores = np.concatenate([p.scores[method.scorer] for p in problems])
    y = np.concatenate([p.correct for p in problems])
    counts = [len(p.correct) for p in problems]
    problem, folds = np.repeat(np.arange(len(problems)), counts), isotonic.folds_of((p.id for p in problems), counts)
    graded = ~np.isnan(y)
    scored = graded & np.isfinite(scores)
    fitted = isotonic.cross_fit(scores[scored], y[scored], folds[scored])
    return {
        "auroc": calibration.auroc(scores[graded], y[graded]),
        "auroc_within": calibration.auroc_within(scores[graded], y[graded], problem[graded]),
        "calibrated": calibrate(fitted, y[scored]),
        "raw": calibrate(scores[scored], y[scored]) if SCORERS[method.scorer].is_probability else None,
    }


def calibrate(confidence: Floats, y: Floats) -> Calibration | None:
    """ECE, Brier score and the bins of both over (n,) probabilities, NaN left out; None of nothing or beyond [0, 1]."""
    known = ~np.isnan(confidence)
    confidence, y = confidence[known], y[known]
    if not len(y) or confidence.min() < 0.0 or confidence.max() > 1.0:
        return None
    place = calibration.bin_of(confidence)
    num, mean, right = np.bincount(place), np.bincount(place, weights=confidence), np.bincount(place, weights=y)
    bins = [ReliabilityBin(float(mean[i] / num[i]), float(right[i] / num[i]), int(num[i])) for i in np.flatnonzero(num)]
    return Calibration(calibration.ece(confidence, y), calibration.brier(confidence, y), len(y), tuple(bins))


def risk_coverage(problems: Sequence[ProblemNumbers], method: Method) -> RiskCoverage | None:
    """The curve of a method's choices; None where it has no confidence in any, or none could be graded."""
    taken = [problem.taken[method.name] for problem in problems]
    confidence, y = np.array([t.confidence for t in taken]), np.array([t.right for t in taken])
    if np.isnan(confidence).all():
        return None
    confidence, y = np.where(np.isnan(confidence), -np.inf, confidence)[~np.isnan(y)], y[~np.isnan(y)]
    if not len(y):
        return None
    risks, n = calibration.risks(confidence, y), len(y)
    at = np.unique(np.linspace(1, n, min(n, MOST_POINTS)).round().astype(int))
    points = tuple((float(i / n), float(risks[i - 1])) for i in at)
    return RiskCoverage(calibration.aurc(confidence, y), calibration.e_aurc(confidence, y), n, points)
