"""How long things took: mean and percentiles of seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds over `num` of them; NaN of none. A percentile between two values lies between them in proportion."""

    num: int
    total: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Latency:
        """The numbers of (n,) seconds."""
        values = np.asarray(seconds, dtype=np.float64)
        if not len(values):
            return Latency(0, 0.0, *[nan] * 5)
        return Latency(
            len(values), float(values.sum()), float(values.mean()), *np.percentile(values, [50, 90, 95, 99]).tolist()
        )
