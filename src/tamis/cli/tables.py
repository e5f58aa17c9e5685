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
    from tamis.workflows.score_file import Scored

_MAX_BAD_ROWS = 20
_FULL_WIDTH = 120
_COLUMNS = ("accuracy", "95 % interval", "vs one sample", "95 % interval ", "AUROC", "within", "ECE", "Brier", "tokens")
_PRIORITY = (0, 1, 2, 8, 3, 4, 5, 6, 7)
"""Which columns a terminal that is too narrow for all of them shows first: it has fewer, and none has digits cut."""
_GAP = 2


def print_comparison(comparison: Comparison, title: str) -> None:
    """The table of methods on stdout; under it which one to use, pass@k, and what stands beside every accuracy."""
    from rich.console import Console

    from tamis.summarise import advice

    console = Console(width=None if sys.stdout.isatty() else _FULL_WIDTH, highlight=False, soft_wrap=True)
    if comparison.num_problems:
        console.print(_table(comparison, title, console.width))
    else:
        console.print("no accuracies: no problem has both a reference answer and a graded sample")
    for line in advice(comparison):
        console.print(line, markup=False)
    points = "  ".join(f"pass@{p.num_samples} {p.accuracy.value:.4f}" for p in comparison.pass_at_k)
    if points:
        console.print(points)
    for line in _notes(comparison):
        console.print(line, markup=False)


def _table(comparison: Comparison, title: str, width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    lines = in_order(comparison.methods)
    cells = [_cells(line) for line in lines]
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    table.add_column("method", no_wrap=True)
    shown = _shown(cells, width - 2 - max(len(line.method) for line in lines))
    for place in shown:
        table.add_column(_COLUMNS[place].strip(), justify="right", no_wrap=True)
    for line, row in zip(lines, cells, strict=True):
        table.add_row(Text(line.method), *(row[place] for place in shown))
    return table


def _shown(cells: Sequence[tuple[str, ...]], room: int) -> list[int]:
    """The columns that fit beside the names of the methods, and have something in them."""
    shown: list[int] = []
    for place in _PRIORITY:
        widest = max(len(row[place]) for row in cells)
        room -= (_GAP + max(widest, len(_COLUMNS[place].strip()))) if widest else 0
        if widest and (room >= 0 or not shown):
            shown.append(place)
    return sorted(shown)


def in_order(lines: Sequence[MethodResult]) -> list[MethodResult]:
    """The others between one sample and the oracle, which bound what choosing can do, and best first."""
    from tamis.summarise.results import ONE_SAMPLE, ORACLE

    def place(line: MethodResult) -> tuple[int, float]:
        accuracy = line.accuracy.value
        return {ONE_SAMPLE: 0, ORACLE: 2}.get(line.method, 1), math.inf if math.isnan(accuracy) else -accuracy

    return sorted(lines, key=place)


def _cells(line: MethodResult) -> tuple[str, ...]:
    difference = line.difference
    return (
        f"{line.accuracy.value:.4f}",
        _bounds(line.accuracy, "{:.3f}"),
        f"{difference.value:+.4f}" if difference else "",
        _bounds(difference, "{:+.3f}") if difference else "",
        _known(line.auroc, ".3f"),
        _known(line.auroc_within, ".3f"),
        _known(line.calibrated.ece, ".3f") if line.calibrated else "",
        _known(line.calibrated.brier, ".3f") if line.calibrated else "",
        _known(line.tokens_per_problem, ".0f"),
    )


def _known(value: float, style: str) -> str:
    return "" if math.isnan(value) else format(value, style)


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
    if any(line.calibrated for line in comparison.methods):
        lines.append("AUROC over all samples and within problems; ECE and Brier after calibration on other problems")
    lines += [f"left out: {line}" for line in comparison.left_out]
    return [*lines, *(f"warning: {line}" for line in health_warnings(health))]


def print_scores(scored: Scored) -> None:
    """How many samples each scorer scored, and why the others are not."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", no_wrap=True)
    for name in ("scored", "mean", "not scored"):
        table.add_column(name, justify="left" if name == "not scored" else "right")
    for name, line in scored.scorers.items():
        reasons = ", ".join(f"{count} {reason}" for reason, count in line.reasons.items())
        table.add_row(name, str(line.num_scored), f"{line.mean:.4g}" if line.num_scored else "", reasons)
    Console(width=None if sys.stdout.isatty() else _FULL_WIDTH, highlight=False).print(table)


def print_bad_rows(bad_rows: Sequence[BadRow], what: str = "left out", num: int | None = None, *, listed_in: str = "") -> None:
    """The first rows that could not be used, on stderr, one line each.

    Args:
        bad_rows: Those to be listed.
        what: What became of them.
        num: How many they are in all.
        listed_in: The file that has all of them.
    """
    from tamis.view.text import clean

    num = len(bad_rows) if num is None else num
    for row in bad_rows[:_MAX_BAD_ROWS]:
        print(clean(f"{what}: {row}"), file=sys.stderr)
    if num > _MAX_BAD_ROWS:
        print(f"{what}: {num - _MAX_BAD_ROWS} more rows{f', see {listed_in}' if listed_in else ''}", file=sys.stderr)
