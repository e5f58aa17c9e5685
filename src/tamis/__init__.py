"""Tamis: draw many answers from a model, score them, keep the best, and say how sure you are."""
