"""One chart of lines as inline SVG, with a legend whose buttons show and hide them. Nothing but strings.

What the lines mean is said in `charts`; here are places on the paper. page.js reads `data-line`, `data-n` (a place at which the
legend reads the lines off), `data-v` (the value there) and `data-tip`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.view.text import esc

WIDTH, HEIGHT = 720, 500
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 46
INSET = 14
"""Between the frame and the outermost dots of an axis that does not begin at its end."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from low to high, low < high, and what stands at the ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str
    log: bool = False
    inset: int = 0

    def share(self, value: float) -> float:
        """How far along the axis a value lies, 0 to 1 between its ends."""
        low, high, at = (math.log2(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def x(self, value: float) -> float:
        """Where a value lies to the right."""
        return round(LEFT + self.inset + (WIDTH - LEFT - RIGHT - 2 * self.inset) * self.share(value), 1)

    def y(self, value: float) -> float:
        """Where a value lies upwards."""
        return round(HEIGHT - BOTTOM - self.share(value) * (HEIGHT - TOP - BOTTOM), 1)


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a line; `low` and `high` bound its band, NaN where there is none."""

    x: float
    y: float
    tip: str
    value: str = ""  # what the legend says when it is read off here
    place: str = ""  # where "here" is
    low: float = math.nan
    high: float = math.nan
    radius: float = 2.6


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart. `style` is its CSS class; a level line goes from edge to edge at the height of its first dot."""

    name: str
    dots: tuple[Dot, ...]
    style: str
    dash: str
    value: str  # at the end of its line in the legend
    shown: bool = True
    quiet: bool = False  # its band shows only on request
    level: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart is called and how it is read."""

    name: str  # of its ids
    title: str
    description: str
    x: Axis
    y: Axis
    legend: tuple[str, str]  # what its two columns are
    read_at: str = ""  # the place that the values of the legend belong to, when they can be read off elsewhere
    marks: str = ""  # drawn under the lines


def draw(chart: Chart, series: Sequence[Series]) -> str:
    """The figure; the first series lies on top."""
    order = list(reversed(list(enumerate(series))))
    bands = "".join(_band(index, line, chart) for index, line in order)
    curves = "".join(_curve(index, line, chart) for index, line in order)
    return (
        '<figure class="chart" data-chart><div class="scroll"><div class="plot">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{chart.name}-title {chart.name}-desc">'
        f'<title id="{chart.name}-title">{esc(chart.title)}</title><desc id="{chart.name}-desc">{esc(chart.description)}</desc>'
        f"{_axes(chart)}{chart.marks}<line class='cursor' y1='{TOP}' y2='{HEIGHT - BOTTOM}' hidden></line>{bands}{curves}"
        f"</svg></div></div>{_legend(chart, series, has_bands=bool(bands))}</figure>"
    )


def _axes(chart: Chart) -> str:
    parts = []
    for value, words in chart.y.ticks:
        y = chart.y.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{words}</text>')
    for value, words in chart.x.ticks:
        x = chart.x.x(value)
        parts.append(f'<text class="tick" x="{x}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{words}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{esc(chart.x.label)}</text>')
    if chart.y.label:
        parts.append(f'<text class="axis" x="{LEFT + 8}" y="{TOP + 12}">{esc(chart.y.label)}</text>')
    return "".join(parts)


def _curve(index: int, line: Series, chart: Chart) -> str:
    places = [(chart.x.x(dot.x), chart.y.y(dot.y)) for dot in line.dots]
    path = "L".join(f"{x} {y}" for x, y in places)
    if line.level:
        path = f"{LEFT} {places[0][1]}L{WIDTH - RIGHT} {places[0][1]}"
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="{dot.radius:.1f}" data-n="{dot.place}" data-v="{esc(dot.value)}"'
        f' data-tip="{esc(dot.tip)}"/>'
        for (x, y), dot in zip(places, line.dots, strict=True)
    )
    return (
        f'<g class="curve {line.style}{"" if line.shown else " off"}" data-line="{index}" data-name="{esc(line.name)}">'
        f'<path d="M{path}"{_dash(line)}/>{dots}</g>'
    )


def _band(index: int, line: Series, chart: Chart) -> str:
    bounded = [dot for dot in line.dots if math.isfinite(dot.low) and math.isfinite(dot.high)]
    if len(bounded) < 2:
        return ""
    upper = [(chart.x.x(dot.x), chart.y.y(min(chart.y.high, dot.high))) for dot in bounded]
    lower = [(chart.x.x(dot.x), chart.y.y(max(chart.y.low, dot.low))) for dot in reversed(bounded)]
    outline = "L".join(f"{x} {y}" for x, y in [*upper, *lower])
    kind = f"{line.style}{' quiet' if line.quiet else ''}{'' if line.shown else ' off'}"
    return f'<path class="band {kind}" data-line="{index}" d="M{outline}Z"/>'


def _legend(chart: Chart, series: Sequence[Series], *, has_bands: bool) -> str:
    rows = "".join(
        f'<li><button type="button" class="{line.style}" data-line="{index}" aria-pressed="{str(line.shown).lower()}">'
        f'<svg viewBox="0 0 26 10" width="26" height="10" aria-hidden="true"><path d="M0 5H26"{_dash(line)}/></svg>'
        f'<span class="name">{esc(line.name)}</span><span class="value">{line.value}</span></button></li>'
        for index, line in enumerate(series)
    )
    at = f' <span data-at="{chart.read_at}">{chart.read_at}</span>' if chart.read_at else ""
    bands = '<button type="button" data-bands aria-pressed="false">All bands</button>' if has_bands else ""
    head = f"<span>{chart.legend[0]}</span><span>{chart.legend[1]}{at}</span>"
    return (
        f'<figcaption class="legend"><p class="legend-head">{head}</p>'
        f'<ul>{rows}</ul><p class="legend-tools"><button type="button" data-all="true">Show all</button>'
        f'<button type="button" data-all="false">Hide all</button>{bands}</p></figcaption>'
    )


def _dash(line: Series) -> str:
    return f' stroke-dasharray="{line.dash}"' if line.dash else ""
