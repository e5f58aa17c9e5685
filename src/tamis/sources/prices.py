"""A price table: what a million tokens cost, by model.

{"o4-mini": {"input": 1.1, "output": 4.4}}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError
from tamis.sources.prompt_files import read_object
from tamis.sources.rows import kind_of


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in the currency of the table."""

    input: float
    output: float

    def cost(self, num_read: int, num_written: int) -> float:
        """What so many tokens cost."""
        return (num_read * self.input + num_written * self.output) / 1e6


def read_prices(path: Path) -> dict[str, Price]:
    """The table of a file.

    Raises:
        InputError: It cannot be read, or a price is none.
    """
    return {model: Price(*(_number(path, model, row, name) for name in ("input", "output"))) for model, row in _rows(path)}


def _rows(path: Path) -> list[tuple[str, dict[str, object]]]:
    rows = list(read_object(path, "prices").items())
    for model, row in rows:
        if not isinstance(row, dict):
            raise InputError(f"{path}: {model}: is {kind_of(row)}, not an object", 'Write {"input": 1.1, "output": 4.4}')
    return rows


def _number(path: Path, model: str, row: dict[str, object], name: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        what = "is missing" if name not in row else f"is {value!r}"
        raise InputError(f"{path}: {model}: {name}: {what}", "Write what a million tokens cost, a number of 0 or more")
    return float(value)
