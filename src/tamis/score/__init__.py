"""Samples -> scores: each scorer a pure function, one file a family."""

from tamis.config import ScoreSettings
from tamis.score.registry import FREE, HIDDEN_STATES, SCORERS, STATISTICS, Scorer, missing_reason, score_pool, with_scores

__all__ = [
    "FREE",
    "HIDDEN_STATES",
    "SCORERS",
    "STATISTICS",
    "ScoreSettings",
    "Scorer",
    "missing_reason",
    "score_pool",
    "with_scores",
]
