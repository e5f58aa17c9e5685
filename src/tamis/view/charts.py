"""Accuracy against the number of samples and against tokens: what the lines are. How they are drawn: `plot`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tamis.summarise.results import Comparison, CurvePoint, Interval
from tamis.view.plot import INSET, Axis, Chart, Dot, Series, draw
from tamis.view.text import NOTHING, esc, percent, percent_range

NUM_COLOURS = 8  # --line-0 ... in page.css; beyond them the same colours come back with another dash
DASHES = ("", "7 4", "2 3", "9 3 2 3")
FEW_LINES = 5  # more bands than these lie over each other as fog: then the best and one sample keep theirs
ORACLE_NAME = "oracle (any sample right)"


@dataclass(frozen=True, slots=True)
class Line:
    """One method's accuracies. `style` is its CSS class; baselines are grey and dashed."""

    name: str
    points: tuple[CurvePoint, ...]
    style: str
    dash: str
    banded: bool
    shown: bool = True

    @property
    def last(self) -> Interval:
        """The accuracy at the right end."""
        return self.points[-1].accuracy


def telling(comparison: Comparison) -> list[str]:
    """The methods that charts show at first, at most eight, in the order of the comparison.

    The majority vote, the best at each budget, the two scores that tell right from wrong best, the best of those that claim to
    be probabilities, and then the most accurate; the lines of one sample and the oracle are shown besides.
    """
    methods = [m for m in comparison.methods if m.difference is not None]
    names = [m.method for m in methods]
    if len(names) <= NUM_COLOURS:
        return names
    by_auroc = sorted((m for m in methods if math.isfinite(m.auroc)), key=lambda m: -m.auroc)
    by_accuracy = sorted((m for m in methods if math.isfinite(m.accuracy.value)), key=lambda m: -m.accuracy.value)
    wanted = ["self-consistency"]
    if comparison.frontier:
        wanted += [budget.best.method for budget in reversed(comparison.frontier.budgets)]
        wanted += [point.method for point in reversed(comparison.frontier.points)]
    wanted += [m.method for m in by_auroc[:2]] + [m.method for m in by_auroc if m.raw][:1] + [m.method for m in by_accuracy]
    chosen = [name for name in dict.fromkeys(wanted) if name in names][:NUM_COLOURS]
    return [name for name in names if name in chosen]


def styles(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Method -> CSS class and dash, the same in all charts; the telling methods have the colours to themselves."""
    first = telling(comparison)
    rest = [m.method for m in comparison.methods if m.difference is not None and m.method not in first]
    return {name: (f"line-{i % NUM_COLOURS}", DASHES[i // NUM_COLOURS % len(DASHES)]) for i, name in enumerate([*first, *rest])}


def chart_lines(comparison: Comparison) -> list[Line]:
    """The lines, best at the right end first; methods keep the colour of their place in the comparison."""
    lines, look, first = [], styles(comparison), set(telling(comparison))
    for result in comparison.methods:
        curve = _finite(result.curve) or _finite([CurvePoint(comparison.samples_per_problem, result.accuracy)])
        if curve and result.difference is None:
            lines.append(Line(result.method, curve, "baseline", "5 4", banded=True))
        elif curve:
            lines.append(Line(result.method, curve, *look[result.method], banded=True, shown=result.method in first))
    if oracle := _finite(comparison.pass_at_k):
        lines.append(Line(ORACLE_NAME, oracle, "baseline", "1.5 4", banded=False))
    return sorted(lines, key=lambda line: -line.last.value)


def _finite(curve: Iterable[CurvePoint]) -> tuple[CurvePoint, ...]:
    kept = [point for point in curve if math.isfinite(point.accuracy.value) and point.num_samples > 0]
    return tuple(sorted(kept, key=lambda point: point.num_samples))


# --- accuracy against N ------------------------------------------------------------------------------------------


def accuracy_chart(lines: Sequence[Line]) -> str:
    """The chart, and the same numbers as a table for those who cannot see it."""
    if not lines:
        return '<p class="empty">No method has an accuracy to draw.</p>'
    most = max(point.num_samples for line in lines for point in line.points)
    if most == 1:
        return '<p class="empty">One sample was drawn for each problem: there is no curve.</p>'
    best = next((line for line in lines if line.banded), lines[0])
    clear = [line for line in lines if len(lines) <= FEW_LINES or line is best or line.style == "baseline"]
    highest = f"{best.name}, {percent(best.last.value)}"
    chart = Chart(
        name="chart",
        title="Accuracy against the number of samples drawn for each problem",
        description=f"{len(lines)} lines. The best method at the right end: {highest}. All values are in the table below.",
        x=_samples_axis(most),
        y=accuracy_axis(lines),
        legend=("Method", "at N ="),
        read_at=str(most),
    )
    note = f"Bands are 95 % intervals. Point at a line to read it; press a name to show or hide its line.{_hidden(lines)}"
    series = [_series(line, quiet=line not in clear) for line in lines]
    return f'<p class="note">{note}</p>{draw(chart, series)}{_numbers(lines)}'


def _hidden(lines: Sequence[Line]) -> str:
    hidden = sum(not line.shown for line in lines)
    return f" {hidden} of {len(lines)} lines are hidden at first." if hidden else ""


def _series(line: Line, *, quiet: bool) -> Series:
    dots = []
    for point in line.points:
        value, bounds = percent(point.accuracy.value), percent_range(point.accuracy.low, point.accuracy.high)
        tip = f"N = {point.num_samples}: {value}" + ("" if bounds == NOTHING else f"\n95 % interval {bounds}")
        bound = (point.accuracy.low, point.accuracy.high) if line.banded else (math.nan, math.nan)
        dots.append(Dot(point.num_samples, point.accuracy.value, tip, value, str(point.num_samples), *bound))
    level = len(dots) == 1 and line.style == "baseline"
    value = percent(line.last.value)
    return Series(line.name, tuple(dots), line.style, line.dash, value, shown=line.shown, quiet=quiet, level=level)


def _samples_axis(most: int) -> Axis:
    powers = [2**k for k in range(most.bit_length())]
    if most not in powers:  # the last power gives way to the end when they would touch
        powers = [power for power in powers if math.log2(most / power) / math.log2(most) > 0.05] + [most]
    ticks = tuple((float(power), str(power)) for power in powers)
    return Axis(1, most, ticks, "samples for each problem (N)", log=True, inset=INSET)


def accuracy_axis(lines: Sequence[Line]) -> Axis:
    """From the tick below the lowest line to the one above the highest."""
    ticks = accuracy_ticks(lines)
    return Axis(ticks[0], ticks[-1], tuple((tick, f"{100 * tick:g} %") for tick in ticks), "")


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
