"""Tamis: draw many answers from a model, score them, keep the best, and say how sure you are.

The names below are the public ones; each is loaded when first asked for, so that `import tamis` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.engines import open_engine
    from tamis.errors import TamisError
    from tamis.grade import Grader
    from tamis.records import Choice, Pool, Problem, Sample, Sampling, TokenStats
    from tamis.select import choose
    from tamis.sources import read_problems, read_samples
    from tamis.store import RunFolder
    from tamis.summarise import compare
    from tamis.workflows.summarising import summarise

_HOMES = {
    "Choice": "records",
    "Grader": "grade",
    "Pool": "records",
    "Problem": "records",
    "RunFolder": "store",
    "Sample": "records",
    "Sampling": "records",
    "TamisError": "errors",
    "TokenStats": "records",
    "choose": "select",
    "compare": "summarise",
    "open_engine": "engines",
    "read_problems": "sources",
    "read_samples": "sources",
    "summarise": "",
}

__all__ = [
    "Choice",
    "Grader",
    "Pool",
    "Problem",
    "RunFolder",
    "Sample",
    "Sampling",
    "TamisError",
    "TokenStats",
    "choose",
    "compare",
    "open_engine",
    "read_problems",
    "read_samples",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tamis' has no attribute {name!r}")
    if not _HOMES[name]:  # a room that can be called
        return import_module(f"tamis.{name}")
    return getattr(import_module(f"tamis.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
