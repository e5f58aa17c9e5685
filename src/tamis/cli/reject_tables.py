"""What `tamis reject` prints at its end: how many images were accepted, what each setting is worth, what it cost."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.config import Arm
    from tamis.sample.bandit import Belief
    from tamis.summarise import Interval
    from tamis.summarise.rejection import Group, Summary

_FULL_WIDTH = 120
_BEST_ARMS, _BEST_BELIEFS = 5, 3
_LEAST_GRADED = 5  # candidates of an arm: of many arms with one candidate each the best is the luckiest


def print_rejection(
    summary: Summary, threshold: float, cost: Mapping[str, Any] | None = None, beliefs: Sequence[Belief] = ()
) -> None:
    """The table on stdout, and a few lines under it; `beliefs` are what the adaptive strategy has learnt, best first."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _FULL_WIDTH, highlight=False, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    for name in ("candidates", "ungraded", "accepted", "95 % interval", "score", "95 % interval "):
        table.add_column(name.strip(), justify="right", no_wrap=True)
    for name, group in _lines(summary):
        table.add_row(Text(name), *_cells(group))
    if summary.num_candidates:
        console.print(table)
    for line in _notes(summary, threshold, cost):
        console.print(line, markup=False)
    for one in beliefs[:_BEST_BELIEFS]:
        console.print(f"learnt: {_arm(one.arm)}: {one.score:.1f}, standard deviation {one.deviation:.1f}", markup=False)


def _lines(summary: Summary) -> Iterator[tuple[str, Group]]:
    yield "all", summary.all
    for name, groups in {"prompt": summary.by_prompt, **summary.by_params}.items():
        if len(groups) > 1:
            yield from ((f"{name} {value}", group) for value, group in groups.items())
    mean = summary.all.score.value
    known = [(arm, group) for arm, group in summary.by_arm if group.num_graded >= _LEAST_GRADED and group.score.value > mean]
    if len(summary.by_arm) > 1:
        yield from ((f"best: {_arm(arm)}", group) for arm, group in known[:_BEST_ARMS])


def _arm(arm: Arm) -> str:
    return f"{arm.prompt_key}, T {arm.temperature:g}, p {arm.top_p:g}, k {arm.top_k}"


def _cells(group: Group) -> tuple[str, ...]:
    return (
        str(group.num_candidates),
        str(group.num_candidates - group.num_graded),
        number(group.accepted.value, ".3f"),
        bounds(group.accepted, ".3f"),
        number(group.score.value, ".1f"),
        bounds(group.score, ".1f"),
    )


def number(value: float, style: str) -> str:
    """A number that may be unknown."""
    return "-" if math.isnan(value) else format(value, style)


def bounds(interval: Interval, style: str) -> str:
    """The ends of an interval that may be unknown."""
    return "-" if math.isnan(interval.low) else f"{interval.low:{style}} .. {interval.high:{style}}"


def _notes(summary: Summary, threshold: float, cost: Mapping[str, Any] | None) -> Iterator[str]:
    num_graded = summary.num_high + summary.num_low
    share = f" ({100 * summary.high.value:.1f} %, {bounds(summary.high, '.3f')})" if num_graded else ""
    yield (
        f"{summary.num_images} images: {summary.num_high} with a score of {threshold:g} or more{share}, "
        f"{summary.num_low} below, {summary.num_ungraded} ungraded, {summary.num_failed} failed"
    )
    yield (
        f"{summary.num_candidates} candidates: {summary.num_candidates_failed} failed, "
        f"{summary.num_candidates_ungraded} ungraded, {summary.num_candidates_truncated} truncated"
    )
    written, judged = summary.generation_tokens, summary.grading_tokens
    yield (
        f"tokens: {written.prompt} read and {written.completion} written by the model, "
        f"{judged.prompt} and {judged.completion} by the judge"
    )
    if cost:
        unpriced = f"; without a price: {', '.join(cost['without_price'])}" if cost["without_price"] else ""
        yield f"cost: {'unknown' if cost['total'] is None else format(cost['total'], '.4f')}{unpriced}"
    if summary.num_candidates > summary.num_candidates_failed and not num_graded:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items())
        yield f"warning: the judge has given no candidate a score ({reasons}): check the grading prompt and the judge model"
