"""Samples -> scores: each scorer a pure function, one file a family."""
