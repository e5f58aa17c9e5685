"""Charts as inline SVG: accuracy against the number of samples, and the paired differences. Nothing but strings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tamis.summarise.results import Comparison, CurvePoint, Interval, MethodResult
from tamis.view.text import NOTHING, esc, percent, percent_range

WIDTH, HEIGHT = 720, 500
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 46
NUM_COLOURS = 8  # --line-0 ... in page.css; beyond them the same colours come back with another dash
DASHES = ("", "7 4", "2 3", "9 3 2 3")
BAR_WIDTH, BAR_HEIGHT, AXIS_HEIGHT = 190, 40, 16
FEW_LINES = 5  # more bands than these lie over each other as fog: then the best and one sample keep theirs


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the chart. `style` is its CSS class; baselines are grey and dashed."""

    name: str
    points: tuple[CurvePoint, ...]
    style: str
    dash: str
    banded: bool

    @property
    def last(self) -> Interval:
        """The accuracy at the right end."""
        return self.points[-1].accuracy


def chart_lines(comparison: Comparison) -> list[Line]:
    """The lines, best at the right end first; methods keep the colour of their place in the comparison."""
    lines, place = [], 0
    for result in comparison.methods:
        curve = _finite(result.curve) or _finite([CurvePoint(comparison.samples_per_problem, result.accuracy)])
        baseline = result.difference is None
        if curve and baseline:
            lines.append(Line(result.method, curve, "baseline", "5 4", banded=True))
        elif curve:
            dash = DASHES[place // NUM_COLOURS % len(DASHES)]
            lines.append(Line(result.method, curve, f"line-{place % NUM_COLOURS}", dash, banded=True))
        place += not baseline
    if oracle := _finite(comparison.pass_at_k):
        lines.append(Line("oracle (any sample right)", oracle, "baseline", "1.5 4", banded=False))
    return sorted(lines, key=lambda line: -line.last.value)


def _finite(curve: Iterable[CurvePoint]) -> tuple[CurvePoint, ...]:
    kept = [point for point in curve if math.isfinite(point.accuracy.value) and point.num_samples > 0]
    return tuple(sorted(kept, key=lambda point: point.num_samples))


# --- accuracy against N ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where numbers lie on the paper: log2 of N to the right, accuracy upwards."""

    most_samples: int
    low: float
    high: float

    def x(self, num_samples: int) -> float:
        width = WIDTH - LEFT - RIGHT
        inset = 14
        return round(LEFT + inset + (width - 2 * inset) * math.log2(num_samples) / math.log2(self.most_samples), 1)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def accuracy_chart(lines: Sequence[Line]) -> str:
    """The SVG, the legend whose buttons show and hide lines, and the same numbers as a table for those who cannot see it."""
    if not lines:
        return '<p class="empty">No method has an accuracy to draw.</p>'
    most = max(point.num_samples for line in lines for point in line.points)
    if most == 1:
        return '<p class="empty">One sample was drawn for each problem: there is no curve.</p>'
    ticks = accuracy_ticks(lines)
    frame = _Frame(most, ticks[0], ticks[-1])
    best = next((line for line in lines if line.banded), lines[0])
    clear = [line for line in lines if len(lines) <= FEW_LINES or line is best or line.style == "baseline"]
    drawn = [_draw(index, line, frame, quiet=line not in clear) for index, line in enumerate(lines)]
    highest = f"{best.name}, {percent(best.last.value)}"
    description = f"{len(lines)} lines. The best method at the right end: {highest}. All values are in the table below."
    return (
        '<p class="note">Bands are 95 % intervals. Point at a line to read it; press a name to show or hide its line.</p>'
        '<figure class="chart" data-chart>'
        '<div class="scroll"><div class="plot">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-title chart-desc">'
        '<title id="chart-title">Accuracy against the number of samples drawn for each problem</title>'
        f'<desc id="chart-desc">{esc(description)}</desc>'
        f"{_axes(frame, ticks)}<line class='cursor' y1='{TOP}' y2='{HEIGHT - BOTTOM}' hidden></line>"
        # the best lines last, so that they lie on top
        f"{''.join(band for band, _ in reversed(drawn))}{''.join(curve for _, curve in reversed(drawn))}"
        "</svg></div></div>"
        f"{_legend(lines, most)}</figure>{_numbers(lines)}"
    )


def accuracy_ticks(lines: Sequence[Line]) -> list[float]:
    """Round accuracies from below the lowest line to above the highest, at most eight steps; bounds of bands count."""
    values = [value for line in lines for value in _extent(line)]
    low, high = max(0.0, min(values)), min(1.0, max(values))
    step = next((s for s in (0.005, 0.01, 0.02, 0.05, 0.1) if (high - low) / s <= 7), 0.2)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = max(0, first - 1), last + 1
    return [round(index * step, 4) for index in range(first, last + 1) if index * step <= 1 + step / 2]


def _extent(line: Line) -> list[float]:
    values = [point.accuracy.value for point in line.points]
    if line.banded and len(line.points) > 1:
        values += [bound for point in line.points for bound in (point.accuracy.low, point.accuracy.high)]
    return [value for value in values if math.isfinite(value)]


def _axes(frame: _Frame, ticks: Sequence[float]) -> str:
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{100 * tick:g} %</text>')
    powers = [2**k for k in range(frame.most_samples.bit_length())]
    if frame.most_samples not in powers:  # the last power gives way to the end when they would touch
        powers = [power for power in powers if frame.x(frame.most_samples) - frame.x(power) > 30] + [frame.most_samples]
    below = HEIGHT - BOTTOM + 20
    parts += [f'<text class="tick" x="{frame.x(power)}" y="{below}" text-anchor="middle">{power}</text>' for power in powers]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">samples for each problem (N)</text>')
    return "".join(parts)


def _draw(index: int, line: Line, frame: _Frame, *, quiet: bool) -> tuple[str, str]:
    places = [(frame.x(point.num_samples), frame.y(point.accuracy.value)) for point in line.points]
    path = "L".join(f"{x} {y}" for x, y in places)
    if len(places) == 1 and line.style == "baseline":
        path = f"{LEFT} {places[0][1]}L{WIDTH - RIGHT} {places[0][1]}"
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="2.6" data-n="{point.num_samples}" data-v="{percent(point.accuracy.value)}"'
        f' data-i="{percent_range(point.accuracy.low, point.accuracy.high)}"/>'
        for (x, y), point in zip(places, line.points, strict=True)
    )
    curve = (
        f'<g class="curve {line.style}" data-line="{index}" data-name="{esc(line.name)}"><path d="M{path}"{dash}/>{dots}</g>'
    )
    bounded = [p for p in line.points if math.isfinite(p.accuracy.low) and math.isfinite(p.accuracy.high)]
    if not line.banded or len(bounded) < 2:
        return "", curve
    upper = [(frame.x(p.num_samples), frame.y(min(1.0, p.accuracy.high))) for p in bounded]
    lower = [(frame.x(p.num_samples), frame.y(max(0.0, p.accuracy.low))) for p in reversed(bounded)]
    outline = "L".join(f"{x} {y}" for x, y in [*upper, *lower])
    return f'<path class="band {line.style}{" quiet" if quiet else ""}" data-line="{index}" d="M{outline}Z"/>', curve


def _legend(lines: Sequence[Line], most: int) -> str:
    rows = []
    for index, line in enumerate(lines):
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        rows.append(
            f'<li><button type="button" class="{line.style}" data-line="{index}" aria-pressed="true">'
            f'<svg viewBox="0 0 26 10" width="26" height="10" aria-hidden="true"><path d="M0 5H26"{dash}/></svg>'
            f'<span class="name">{esc(line.name)}</span><span class="value">{percent(line.last.value)}</span></button></li>'
        )
    return (
        f'<figcaption class="legend"><p class="legend-head"><span>Method</span>'
        f'<span>at N = <span data-at="{most}">{most}</span></span></p>'
        f'<ul>{"".join(rows)}</ul><p class="legend-tools"><button type="button" data-all="true">Show all</button>'
        '<button type="button" data-all="false">Hide all</button>'
        '<button type="button" data-bands aria-pressed="false">All bands</button></p></figcaption>'
    )


def _numbers(lines: Sequence[Line]) -> str:
    numbers = sorted({point.num_samples for line in lines for point in line.points})
    head = "".join(f'<th scope="col">{n}</th>' for n in numbers)
    rows = []
    for line in lines:
        known = {point.num_samples: point.accuracy for point in line.points}
        cells = "".join(f"<td>{_cell(known.get(n))}</td>" for n in numbers)
        rows.append(f'<tr><th scope="row">{esc(line.name)}</th>{cells}</tr>')
    return (
        '<details class="numbers"><summary>The numbers behind the chart</summary><div class="scroll"><table>'
        "<caption>Accuracy and 95 % interval by the number of samples for each problem</caption>"
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
    )


def _cell(accuracy: Interval | None) -> str:
    if accuracy is None:
        return NOTHING
    bounds = percent_range(accuracy.low, accuracy.high)
    return percent(accuracy.value) + (f"<small>{bounds}</small>" if bounds != NOTHING else "")


# --- paired differences ------------------------------------------------------------------------------------------


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
