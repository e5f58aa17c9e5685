"""Bars side by side as inline SVG, with the same numbers as a table. Nothing but strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tamis.view.text import count, esc, percent

WIDTH, HEIGHT = 960, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 46
_GAP = 0.18  # of the room of a group, left free


@dataclass(frozen=True, slots=True)
class Bars:
    """Groups of bars. A series has a name, a CSS class and a value a label."""

    name: str
    title: str
    x: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, str, tuple[float, ...]], ...]
    shares: bool = False  # values are shares of 1, not counts


def draw_bars(bars: Bars) -> str:
    """The figure."""
    step = _step(max((value for _, _, values in bars.series for value in values), default=0.0), bars)
    top = step * max(1, -(-max((value for _, _, values in bars.series for value in values), default=0.0) // step))
    ticks = [step * number for number in range(round(top / step) + 1)]
    say = percent if bars.shares else count
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(tick, top)}" y2="{_y(tick, top)}"/>'
        f'<text class="tick" x="{LEFT - 10}" y="{_y(tick, top) + 4}" text-anchor="end">{_tick(tick, bars)}</text>'
        for tick in ticks
    )
    room = (WIDTH - LEFT - RIGHT) / max(1, len(bars.labels))
    width = room * (1 - _GAP) / max(1, len(bars.series))
    names = "".join(
        f'<text class="tick" x="{LEFT + room * (place + 0.5):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
        f"{esc(label)}</text>"
        for place, label in enumerate(bars.labels)
    )
    marks = "".join(
        f'<rect class="{style}" x="{LEFT + room * (place + _GAP / 2) + width * number:.1f}" y="{_y(value, top)}" '
        f'width="{max(1.0, width - 1):.1f}" height="{round(HEIGHT - BOTTOM - _y(value, top), 1)}">'
        f"<title>{esc(name)}, {esc(bars.labels[place])}: {say(value)}</title></rect>"
        for number, (name, style, values) in enumerate(bars.series)
        for place, value in enumerate(values)
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<figure class="bars"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{bars.name}-title">'
        f'<title id="{bars.name}-title">{esc(bars.title)}</title>{grid}{marks}{names}'
        f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{esc(bars.x)}</text></svg>'
        f"{_key(bars)}</figure>{_numbers(bars)}"
    )


def _key(bars: Bars) -> str:
    if len(bars.series) < 2:
        return ""
    items = "".join(f'<li class="{style}"><b></b>{esc(name)}</li>' for name, style, _ in bars.series)
    return f'<ul class="key">{items}</ul>'


def _numbers(bars: Bars) -> str:
    say = percent if bars.shares else count
    head = "".join(f'<th scope="col" class="num">{esc(label)}</th>' for label in bars.labels)
    rows = "".join(
        f'<tr><th scope="row">{esc(name)}</th>{_cells([say(value) for value in values])}</tr>'
        for name, _, values in bars.series
    )
    return (
        '<details class="numbers"><summary>The numbers behind the chart</summary><div class="scroll"><table>'
        f'<caption>{esc(bars.title)}</caption><thead><tr><th scope="col">{esc(bars.x)}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _cells(values: Sequence[str]) -> str:
    return "".join(f'<td class="num">{value}</td>' for value in values)


def _step(largest: float, bars: Bars) -> float:
    """A round distance between ticks, at most six of them."""
    unit = 0.01 if bars.shares else 1.0
    while True:
        for factor in (1, 2, 5):
            if largest <= 6 * unit * factor:
                return unit * factor
        unit *= 10


def _tick(value: float, bars: Bars) -> str:
    return f"{100 * value:g} %" if bars.shares else count(value)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)
