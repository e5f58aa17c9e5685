"""Scores and votes -> one choice a problem: pure functions."""
