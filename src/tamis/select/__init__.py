"""Scores and votes -> one choice a problem: pure functions."""

from tamis.select.methods import FREE, METHODS, Method, best_by, choose, find_method, reject_below

__all__ = ["FREE", "METHODS", "Method", "best_by", "choose", "find_method", "reject_below"]
