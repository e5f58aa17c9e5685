"""Pools -> rows of training data: which samples are taken (`taking`), and what a row looks like (`formats`)."""

from tamis.export.formats import FORMATS, Format
from tamis.export.taking import Taken, Taking, best, pairs

__all__ = ["FORMATS", "Format", "Taken", "Taking", "best", "pairs"]
