"""Which method to use at which budget: the advice, its table, and accuracy against tokens with the frontier marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tamis.summarise.advice import advice
from tamis.summarise.results import Comparison, CurvePoint, Frontier
from tamis.view.charts import Line, accuracy_axis, chart_lines
from tamis.view.plot import INSET, Axis, Chart, Dot, Series, draw
from tamis.view.text import NOTHING, count, esc, percent, percent_range, points, points_range

MOST_NAMES = 6  # of methods not told apart from the best, in a cell


def budget_section(comparison: Comparison) -> str:
    """The section of the page; nothing where there is nothing to choose."""
    found = comparison.frontier
    if found is None:
        return ""
    line = advice(comparison)[0]
    return (
        '<section aria-labelledby="budgets"><h2 id="budgets">Which method at which budget</h2>'
        f'<p class="advice">{esc(line[0].upper() + line[1:])}.</p>{_table(found)}'
        f"{tokens_chart(chart_lines(comparison), found)}</section>"
    )


def _table(found: Frontier) -> str:
    rows = []
    for budget in found.budgets[1:]:  # with a single sample there is nothing to choose
        best, names = budget.best, list(budget.not_apart)
        others = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
        kind = ' class="best"' if budget == found.best else ""
        rows.append(
            f'<tr{kind}><th scope="row">{best.num_samples}</th><td class="num">{count(best.tokens)}</td>'
            f'<td class="strong"><bdi>{esc(best.method)}</bdi></td>'
            f'<td class="num">{percent(best.accuracy.value)}</td><td class="num">{points(budget.difference.value)} '
            f"<small>{points_range(budget.difference.low, budget.difference.high)}</small></td>"
            f'<td class="num">{percent(budget.share_best)}</td><td><small>{esc(others) or NOTHING}</small></td></tr>'
        )
    caption = (
        f"The most accurate of {count(found.num_methods)} methods on {count(found.num_problems)} problems. Sure: the share of "
        f"{count(found.num_resamples)} resamples of the problems in which no other method is better."
    )
    return (
        f'<div class="scroll"><table class="budgets"><caption>{caption}</caption><thead><tr><th scope="col">Samples</th>'
        '<th scope="col" class="num">Tokens <small>a problem</small></th><th scope="col">Best method</th>'
        '<th scope="col" class="num">Accuracy</th>'
        '<th scope="col" class="num">Against one sample <small>points, paired</small></th>'
        '<th scope="col" class="num">Sure</th><th scope="col">Not told apart from it</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# --- accuracy against tokens -------------------------------------------------------------------------------------


def tokens_chart(lines: Sequence[Line], found: Frontier) -> str:
    """Accuracies by what they cost, and the frontier; nothing where samples do not say their tokens."""
    priced = [replace(line, points=kept) for line in lines if line.shown and (kept := _priced(line.points))]
    tokens = [point.tokens for line in priced for point in line.points] + [point.tokens for point in found.points]
    if not priced or not all(map(math.isfinite, tokens)) or min(tokens) <= 0 or min(tokens) == max(tokens):
        return ""
    x, y = _tokens_axis(min(tokens), max(tokens)), accuracy_axis(priced)
    spots = [(x.x(p.tokens), y.y(min(y.high, max(y.low, p.accuracy.value)))) for p in found.points]
    rings = "".join(f'<circle cx="{left}" cy="{up}" r="7"/>' for left, up in spots)
    path = "L".join(f"{left} {up}" for left, up in spots)
    steps = "; ".join(f"{p.method} with {p.num_samples}, {percent(p.accuracy.value)}" for p in found.points)
    chart = Chart(
        name="tokens",
        title="Accuracy against generated tokens",
        description=f"{len(priced)} lines. The frontier: {steps}.",
        x=x,
        y=y,
        legend=("Method", "at the right end"),
        marks=f'<g class="frontier"><path d="M{path}"/>{rings}</g>',
    )
    note = (
        "Each dot is a number of samples. The broad line and its rings are the frontier: nothing as cheap is as accurate, on "
        f"the {count(found.num_problems)} problems that all methods know. What judges generate is not counted."
    )
    others = " The other methods are in the next chart." if any(not line.shown for line in lines) else ""
    return f'<p class="note apart">{note}{others}</p>{draw(chart, [_series(line) for line in priced])}'


def _priced(curve: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """The points whose cost is known, one for each cost: one sample costs the same whatever is drawn."""
    known = {point.tokens: point for point in reversed(curve) if math.isfinite(point.tokens)}
    return tuple(known[tokens] for tokens in sorted(known))


def _series(line: Line) -> Series:
    dots = []
    for point in line.points:
        bounds = percent_range(point.accuracy.low, point.accuracy.high)
        tip = f"N = {point.num_samples}, {count(point.tokens)} tokens: {percent(point.accuracy.value)}"
        dots.append(Dot(point.tokens, point.accuracy.value, tip + ("" if bounds == NOTHING else f"\n95 % interval {bounds}")))
    return Series(line.name, tuple(dots), line.style, line.dash, percent(line.last.value), level=len(dots) == 1)


def _tokens_axis(least: float, most: float) -> Axis:
    """Logarithmic, with ticks at 1, 2 and 5 times the powers of ten, or at the ends when there are too few."""
    steps = [step * 10.0**power for power in range(-1, 13) for step in (1, 2, 5)]
    inside = [step for step in steps if least <= step <= most]
    ticks = inside if len(inside) >= 2 else [least, most]
    return Axis(
        least, most, tuple((tick, count(tick)) for tick in ticks), "generated tokens for each problem", log=True, inset=INSET
    )
