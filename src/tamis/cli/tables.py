"""What the commands print: tables of methods, the health of the samples, the rows that were left out."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from tamis.sources import BadRow
    from tamis.summarise import Comparison
    from tamis.summarise.results import Interval, MethodResult

_MAX_BAD_ROWS = 20
_FULL_WIDTH = 120
_COLUMNS = {"accuracy": 0, "95 % interval": 54, "vs one sample": 70, "95 % interval ": 90, "AUROC": 98, "tokens": 106}
"""Columns, and the width of terminal from which on each is shown: a narrow one has fewer, none has digits cut."""


def print_comparison(comparison: Comparison, title: str) -> None:
    """The table of methods on stdout, pass@k under it, and what stands beside every accuracy."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _FULL_WIDTH, highlight=False, soft_wrap=True)
    if comparison.num_problems:
        console.print(_table(comparison, title, console.width))
    else:
        console.print("no accuracies: no problem has both a reference answer and a graded sample")
    points = "  ".join(f"pass@{p.num_samples} {p.accuracy.value:.4f}" for p in comparison.pass_at_k)
    if points:
        console.print(points)
    for line in _notes(comparison):
        console.print(line, markup=False)


def _table(comparison: Comparison, title: str, width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    columns = [name for name, least_width in _COLUMNS.items() if width >= least_width]
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for name in columns:
        table.add_column(name.strip(), justify="right", no_wrap=True)
    for line in comparison.methods:
        cells = dict(zip(_COLUMNS, _cells(line), strict=True))
        table.add_row(line.method, *(cells[name] for name in columns))
    return table


def _cells(line: MethodResult) -> tuple[str, ...]:
    difference = line.difference
    return (
        f"{line.accuracy.value:.4f}",
        _bounds(line.accuracy, "{:.3f}"),
        f"{difference.value:+.4f}" if difference else "",
        _bounds(difference, "{:+.3f}") if difference else "",
        "" if math.isnan(line.auroc) else f"{line.auroc:.3f}",
        "" if math.isnan(line.tokens_per_problem) else f"{line.tokens_per_problem:.0f}",
    )


def _bounds(interval: Interval, style: str) -> str:
    if math.isnan(interval.low):  # a single problem has no spread
        return "-"
    return f"{style.format(interval.low)} .. {style.format(interval.high)}"


def _notes(comparison: Comparison) -> Sequence[str]:
    from tamis.summarise import health_warnings

    health = comparison.health
    counts = (
        ("truncated", health.num_truncated),
        ("without an answer", health.num_unparseable),
        ("ungraded", health.num_ungraded),
        ("failed", health.num_failed),
    )
    rates = ", ".join(f"{100 * health.rate(count):.1f} % {name}" for name, count in counts)
    problems = "1 problem" if comparison.num_problems == 1 else f"{comparison.num_problems} problems"
    lines = [f"{problems}, {health.num_samples} samples: {rates}"]
    lines += [f"left out: {line}" for line in comparison.left_out]
    return [*lines, *(f"warning: {line}" for line in health_warnings(health))]


def print_bad_rows(bad_rows: Sequence[BadRow]) -> None:
    """The rows that could not be used, on stderr, one line each."""
    for row in bad_rows[:_MAX_BAD_ROWS]:
        print(f"left out: {row}", file=sys.stderr)
    if len(bad_rows) > _MAX_BAD_ROWS:
        print(f"left out: {len(bad_rows) - _MAX_BAD_ROWS} more rows", file=sys.stderr)
