"""Samples -> scores: each scorer a pure function, one file a family."""

from tamis.score.registry import SCORERS, Scorer, ScoreSettings, missing_reason, score_pool, with_scores

__all__ = ["SCORERS", "ScoreSettings", "Scorer", "missing_reason", "score_pool", "with_scores"]
