"""Choices -> numbers with intervals: accuracy, pass@k, maj@k, paired differences, what was left out."""

from tamis.summarise.advice import advice
from tamis.summarise.compare import Comparer, compare
from tamis.summarise.results import Comparison, Interval, MethodResult, health_warnings, to_json

__all__ = ["Comparer", "Comparison", "Interval", "MethodResult", "advice", "compare", "health_warnings", "to_json"]
