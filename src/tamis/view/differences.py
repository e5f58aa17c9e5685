"""The paired differences to one sample, drawn beside their numbers in the table of methods."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tamis.summarise.results import Interval, MethodResult

BAR_WIDTH, BAR_HEIGHT, AXIS_HEIGHT = 190, 40, 16


@dataclass(frozen=True, slots=True)
class DifferenceScale:
    """One scale in percentage points for all rows of the table of methods; zero always lies inside."""

    low: float
    high: float
    step: float

    @staticmethod
    def of(methods: Iterable[MethodResult]) -> DifferenceScale:
        """The scale that holds every finite bound."""
        known = [m.difference for m in methods if m.difference is not None]
        values = [100 * max(-1.0, min(1.0, v)) for d in known for v in (d.value, d.low, d.high) if math.isfinite(v)]
        low, high = min([0.0, *values]), max([0.0, *values])
        step = next((s for s in (1.0, 2.0, 5.0, 10.0, 20.0) if (high - low) / s <= 4), 50.0)
        return DifferenceScale(min(-step, step * math.floor(low / step)), max(step, step * math.ceil(high / step)), step)

    def x(self, value: float) -> float:
        """Where a value in percentage points lies, in units of the drawing; beyond the scale, at its end."""
        share = (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)
        return round(12 + (BAR_WIDTH - 24) * share, 1)


def difference_axis(scale: DifferenceScale) -> str:
    """The head of the column: ticks in percentage points."""
    ticks = [scale.low + index * scale.step for index in range(round((scale.high - scale.low) / scale.step) + 1)]
    labels = "".join(f'<text class="tick" x="{scale.x(t)}" y="12" text-anchor="middle">{_tick(t)}</text>' for t in ticks)
    return f'<svg class="whisker" viewBox="0 0 {BAR_WIDTH} {AXIS_HEIGHT}" aria-hidden="true">{labels}</svg>'


def difference_mark(difference: Interval | None, scale: DifferenceScale, verdict: str) -> str:
    """A dot with whiskers on the zero line; the numbers stand in the cells beside it. `verdict` is its CSS class."""
    middle, zero = BAR_HEIGHT / 2, scale.x(0)
    parts = [f'<line class="zero" x1="{zero}" x2="{zero}" y1="-9" y2="{BAR_HEIGHT + 9}"/>']
    if difference is not None and math.isfinite(difference.value):
        if math.isfinite(difference.low) and math.isfinite(difference.high):
            low, high = scale.x(100 * difference.low), scale.x(100 * difference.high)
            parts.append(f'<line class="range" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>')
        parts.append(f'<circle cx="{scale.x(100 * difference.value)}" cy="{middle}" r="4"/>')
    return f'<svg class="whisker {verdict}" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'


def _tick(value: float) -> str:
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")
