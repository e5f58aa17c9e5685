"""Samples -> scores: each scorer a pure function, one file a family."""

from tamis.config import ScoreSettings
from tamis.score.registry import (
    FREE,
    HIDDEN_STATES,
    SCORERS,
    STATISTICS,
    Scorer,
    score_pool,
    why_unscored,
    with_scores,
)

__all__ = [
    "FREE",
    "HIDDEN_STATES",
    "SCORERS",
    "STATISTICS",
    "ScoreSettings",
    "Scorer",
    "score_pool",
    "why_unscored",
    "with_scores",
]
