"""The mean of what samples score, and why others score nothing: what has no score is not 0, it is not there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from tamis.summarise.intervals import mean_interval


@dataclass(slots=True)
class Mean:
    """One number a sample."""

    bounds: tuple[float, float] | None = None  # which the mean cannot pass
    values: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, value: float | None, reason: str = "") -> None:
        """Take in one; None needs a reason."""
        if value is None:
            self.reasons[reason] += 1
        else:
            self.values.append(value)

    def to_json(self) -> dict[str, Any]:
        """`value`, its 95 % `interval`, how many were `scored`, and why others are `unscored`; null where nothing is known.

        Values that are all the same have no spread to take an interval from.
        """
        found = mean_interval(np.array(self.values), bounds=self.bounds)
        return {
            "value": found.value if self.values else None,
            "interval": [found.low, found.high] if isfinite(found.low) and found.low < found.high else None,
            "scored": len(self.values),
            "unscored": dict(self.reasons),
        }
