"""What `tamis solve --evaluate` and `tamis compare-runs` print."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.workflows.comparing_runs import Difference, Judged, Side

_FULL_WIDTH = 120
_MAX_LISTED = 20
_MAX_REASONS = 5


def print_evaluation(facts: Mapping[str, Any]) -> None:
    """Accuracies with their intervals, in all, of each model and by groups; under them what stands beside every accuracy."""
    from tamis.view.text import clean

    model = facts["model"]
    name = model if isinstance(model, str) else f"vote of {len(model)} models"
    rows = [(each["model"], each) for each in facts.get("models", ())]
    rows += [(f"{name}, first answer", facts), ("vote of its answers", facts["vote"])] if "vote" in facts else [(name, facts)]
    for title, group in (("subject", "by_subject"), ("level", "by_level")):
        rows += [(f"  {title} {value}", found) for value, found in facts[group].items()]
    cells = [(title, _share(each), _bounds(each), f"{each['correct']}/{each['total']}") for title, each in rows]
    print_table(f"accuracy on {facts['dataset']}", ("", "accuracy", "95 % interval", "correct"), cells)
    for line in _beside(facts):
        print(clean(line))


def _share(found: Mapping[str, Any]) -> str:
    return "" if found["accuracy"] is None else f"{found['accuracy']:.4f}"


def _bounds(found: Mapping[str, Any]) -> str:
    return "" if found["interval"] is None else "{:.3f} .. {:.3f}".format(*found["interval"])


def _beside(facts: Mapping[str, Any]) -> Iterable[str]:
    counts = [f"{facts['num_problems']} problems in {facts['eval_time']:.1f} s", f"{facts['truncated']} truncated"]
    counts += [f"{facts['extraction_failures']} without an answer (counted as wrong)"]
    counts += [f"{facts['errors']} failed"] if facts["errors"] else []
    counts += [f"{num} not graded ({reason})" for reason, num in facts["unscored"].items()]
    yield ", ".join(counts)
    for each in (*facts.get("models", ()), facts):
        if "metric" in each:
            yield (f"{each['model']}: " if each is not facts else "") + _metric(each["metric"])
    if facts["truncated"] > 0.02 * facts["num_problems"]:
        yield "warning: responses were cut at the token limit: the accuracy may be too low. Raise --max-new-tokens"


def _metric(metric: Mapping[str, Any]) -> str:
    mean = "no value" if metric["mean"] is None else f"mean {metric['mean']:.4f}"
    interval = " ({:.4f} .. {:.4f})".format(*metric["interval"]) if metric["interval"] else ""
    most = sorted(metric["reasons"].items(), key=lambda each: -each[1])
    reasons = "".join(f", {num} without: {reason}" for reason, num in most[:_MAX_REASONS])
    others = f", {sum(num for _, num in most[_MAX_REASONS:])} for other reasons" if len(most) > _MAX_REASONS else ""
    return f"{metric['name']}: {mean}{interval} over {metric['scored']} responses{reasons}{others}"


def print_difference(first: Side, second: Side, found: Difference) -> None:
    """Both accuracies and their difference, then who won and lost which problems."""
    n = found.numbers
    cells = [
        (f"A {first.path}", f"{n.first.value:.4f}", f"{n.first.low:.3f} .. {n.first.high:.3f}"),
        (f"B {second.path}", f"{n.second.value:.4f}", f"{n.second.low:.3f} .. {n.second.high:.3f}"),
        ("B - A", f"{n.difference.value:+.4f}", f"{n.difference.low:+.3f} .. {n.difference.high:+.3f}"),
    ]
    title = "1 problem judged in both" if n.num_problems == 1 else f"{n.num_problems} problems judged in both"
    print_table(title, ("", "accuracy", "95 % interval"), cells)
    print(f"only A is right: {n.num_first}, only B: {n.num_second}; McNemar's exact test: p = {n.p_value:.4g}")
    print(f"right in both: {n.num_both}, wrong in both: {n.num_neither}")
    print(f"A is about {first.what}, B about {second.what}")
    _list("won by B", found.won)
    _list("lost by B", found.lost)
    _list("only in A", found.only_first)
    _list("only in B", found.only_second)
    _list("not graded in one of them", found.ungraded)


def _list(title: str, problems: Sequence[Judged]) -> None:
    from tamis.view.text import clean

    if not problems:
        return
    print(f"{title}: {len(problems)}")
    for problem in problems[:_MAX_LISTED]:
        print(clean("  " + "  ".join(part for part in (problem.id, problem.shown) if part)))
    if len(problems) > _MAX_LISTED:
        print(f"  and {len(problems) - _MAX_LISTED} more (all of them with --output FILE)")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under the names of columns; the first column to the left, numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tamis.view.text import clean

    table = Table(title=Text(clean(title)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=bool(place))
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _FULL_WIDTH, highlight=False).print(table)
