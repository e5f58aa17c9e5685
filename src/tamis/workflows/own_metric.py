"""A metric of the user's own: a function(problem, response, reference) -> number, true/false, or None for "cannot say"."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tamis.errors import UsageError
from tamis.sources import BadRow
from tamis.summarise.intervals import mean_interval

MetricFunction = Callable[[str, str, str | None], float | bool | None]

_MAX_SAID = 200  # characters of an exception that are kept: it may quote a whole response
_FORM = "Give module:function or file.py:function"


@dataclass(slots=True)
class Metric:
    """The function, and what it said so far."""

    name: str
    function: MetricFunction
    values: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)  # why rows have no value
    complaints: list[BadRow] = field(default_factory=list)  # where it raised, or gave what is no number

    def anew(self) -> Metric:
        """The same function, before it said anything."""
        return Metric(self.name, self.function)

    async def measure(self, where: str, problem: str, response: str | None, reference: str | None) -> dict[str, Any]:
        """What a row says of it: its value, or why there is none. The function runs in a thread, and may raise anything."""
        if response is None:
            self.reasons["there is no response"] += 1
            return {"metric": None}
        try:
            value = await asyncio.to_thread(self.function, problem, response, reference)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            said = " ".join(str(error).split())[:_MAX_SAID]
            return self._without(where, f"{type(error).__name__}: {said}" if said else type(error).__name__)
        if value is None:
            self.reasons["it said nothing"] += 1
            return {"metric": None}
        try:
            number = float(value) if isinstance(value, bool | int | float | np.generic) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            shown = f"a {type(value).__name__}" if not isinstance(value, int | float) else f"{value}"[:40]
            return self._without(where, f"it returned {shown}, not a number, true/false or None")
        self.values.append(number)
        return {"metric": number}

    def _without(self, where: str, reason: str) -> dict[str, Any]:
        self.reasons[reason] += 1
        self.complaints.append(BadRow(where, self.name, reason))
        return {"metric": None, "metric_error": reason}

    def to_json(self) -> dict[str, Any]:
        """Its mean over the rows that have a value, with the normal interval, and why the others have none."""
        values = np.array(self.values)
        found = mean_interval(values)
        interval = [found.low, found.high] if len(values) > 1 else None
        row = {"name": self.name, "mean": found.value if len(values) else None, "interval": interval, "scored": len(values)}
        return {**row, "unscored": sum(self.reasons.values()), "reasons": dict(self.reasons)}


def load_metric(name: str) -> Metric:
    """The function of a module, which may lie in the working directory, or of a file.

    Raises:
        UsageError: There is none, or loading it fails.
    """
    home, colon, function_name = name.rpartition(":")
    if not colon or not home or not function_name:
        raise UsageError(f"--metric {name} names no function", _FORM)
    module = _load_file(Path(home)) if home.endswith(".py") else _load_module(home)
    function = getattr(module, function_name, None)
    if function is None:
        near = difflib.get_close_matches(function_name, dir(module), n=1)
        raise UsageError(f"--metric: {home} has no {function_name}", f"Did you mean {near[0]}?" if near else _FORM)
    if not callable(function):
        raise UsageError(f"--metric: {name} is no function but a {type(function).__name__}", _FORM)
    return Metric(name, function)


def as_metric(metric: str | MetricFunction) -> Metric:
    """A metric by its name, or around a function."""
    return load_metric(metric) if isinstance(metric, str) else Metric(getattr(metric, "__name__", "metric"), metric)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"--metric: no such file: {path}", _FORM)
    spec = importlib.util.spec_from_file_location(f"tamis_metric_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error) from error
    return module


def _load_module(name: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # for good: the function may import its neighbours when it is called
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"--metric: there is no module {name}", _FORM) from None
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(what: str, error: BaseException) -> UsageError:
    said = " ".join(str(error).split())
    return UsageError(f"--metric: {what} cannot be loaded ({type(error).__name__}: {said})", "Correct it")
