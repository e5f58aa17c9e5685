"""Choices -> numbers with intervals: accuracy, pass@k, maj@k, paired differences, what was left out."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tamis.summarise.advice import advice
from tamis.summarise.compare import Comparer, compare
from tamis.summarise.results import Comparison, Interval, MethodResult, health_warnings, to_json

__all__ = ["Comparer", "Comparison", "Interval", "MethodResult", "advice", "compare", "health_warnings", "to_json"]

if TYPE_CHECKING:
    import polars


class _Room(ModuleType):
    """This room can also be called, since the public function bears its name."""

    def __call__(self, *arguments: Any, **options: Any) -> polars.DataFrame:
        """`tamis.summarise(path, model)`: see `tamis.workflows.summarising.summarise`."""
        found: polars.DataFrame = import_module("tamis.workflows.summarising").summarise(*arguments, **options)
        return found


sys.modules[__name__].__class__ = _Room
