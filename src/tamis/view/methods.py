"""The table of methods and the sentence above it."""

from __future__ import annotations

import math

from tamis.summarise.results import Comparison, GroupResult, Interval, MethodResult
from tamis.view.differences import DifferenceScale, difference_axis, difference_mark
from tamis.view.text import NOTHING, count, esc, percent, percent_range, points, points_range


def ranked(comparison: Comparison) -> list[MethodResult]:
    """The methods by accuracy, best first and ties in order; one sample, which the others are measured by, comes last."""
    return sorted(
        comparison.methods, key=lambda m: (m.difference is None, -m.accuracy.value if _known(m.accuracy) else math.inf)
    )


def verdict(difference: Interval | None) -> str:
    """`better` or `worse` when the interval excludes 0, else `unsure`; `` without an interval."""
    if difference is None or not (math.isfinite(difference.low) and math.isfinite(difference.high)):
        return ""
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "unsure"


def headline(comparison: Comparison) -> str:
    """What the run found, in one sentence that claims no more than its interval."""
    methods = [m for m in ranked(comparison) if m.difference is not None and _known(m.accuracy)]
    if not methods:
        return ""
    best = methods[0]
    sentence = (
        f"<strong>{esc(best.method)}</strong> is right on <strong>{percent(best.accuracy.value)}</strong> of "
        f"{count(best.num_problems)} {'problem' if best.num_problems == 1 else 'problems'}"
    )
    baseline = next((m for m in comparison.methods if m.difference is None and _known(m.accuracy)), None)
    if baseline:
        sentence += f"; one sample on {percent(baseline.accuracy.value)}"
    if best.difference is not None and (found := verdict(best.difference)):
        gain = (
            f"{points(best.difference.value)} points, 95 % interval {points_range(best.difference.low, best.difference.high)}"
        )
        sentence += f" ({gain})" + (", so the difference may be chance" if found == "unsure" else "")
    caution = (
        f" The best of {len(methods)} methods is named after the fact, which flatters it a little." if len(methods) > 1 else ""
    )
    return f'<p class="headline">{sentence}.{f"<small>{caution}</small>" if caution else ""}</p>'


def method_table(comparison: Comparison) -> str:
    """Every method with accuracy, interval, paired difference (numbers and drawing) and cost; the best ones highlighted."""
    methods = ranked(comparison)
    if not methods:
        return '<p class="empty">No method was compared.</p>'
    top = max((m.accuracy.value for m in methods if _known(m.accuracy)), default=math.nan)
    scale = DifferenceScale.of(methods)
    most = max(m.num_problems for m in methods)
    rows = "".join(_row(m, scale, best=m.accuracy.value == top, most_problems=most) for m in methods)
    return (
        '<div class="scroll"><table class="methods">'
        f"<caption>{_caption(comparison, methods)}</caption>"
        '<thead><tr><th scope="col">Method</th>'
        '<th scope="col" class="num">Accuracy</th><th scope="col" class="num">95 % interval</th>'
        '<th scope="col" class="num">Against one sample <small>points, paired</small></th>'
        '<th scope="col" class="num">95 % interval</th>'
        f'<th scope="col" class="drawing"><span class="aside">Difference, drawn</span>{difference_axis(scale)}</th>'
        '<th scope="col" class="num">Tokens <small>a problem</small></th></tr></thead>'
        f"<tbody>{rows}{_oracle(comparison)}</tbody></table></div>"
    )


def _caption(comparison: Comparison, methods: list[MethodResult]) -> str:
    draws = f"{count(comparison.samples_per_problem)} sample{'' if comparison.samples_per_problem == 1 else 's'} each"
    text = f"{count(comparison.num_problems)} problem{'' if comparison.num_problems == 1 else 's'}, {draws}."
    if any(verdict(m.difference) in ("better", "worse") for m in methods):
        text += " ▲ and ▼ mark differences whose interval excludes 0."
    return text


def _row(method: MethodResult, scale: DifferenceScale, *, best: bool, most_problems: int) -> str:
    found, difference = verdict(method.difference), method.difference
    sign = {"better": "▲ ", "worse": "▼ "}.get(found, "")
    kind = "best" if best else "baseline" if difference is None else ""
    notes = [f"chose nothing on {count(method.num_abstained)}"] if method.num_abstained else []
    notes += [f"counts on {count(method.num_problems)} problems"] if method.num_problems < most_problems else []
    value = (points(difference.value), points_range(difference.low, difference.high)) if difference else ("", "")
    mark = '<span class="mark">best</span>' if best else ""
    note = f"<small>{', '.join(notes)}</small>" if notes else ""
    return (
        f'<tr class="{kind}"><th scope="row"><bdi>{esc(method.method)}</bdi> {mark}{note}</th>'
        f'<td class="num strong">{percent(method.accuracy.value)}</td>'
        f'<td class="num">{percent_range(method.accuracy.low, method.accuracy.high, sign="")}</td>'
        f'<td class="num {found}">{f"<span>{sign}</span>" if sign else ""}{value[0]}</td><td class="num">{value[1]}</td>'
        f'<td class="drawing">{difference_mark(difference, scale, found)}</td>'
        f'<td class="num">{count(method.tokens_per_problem)}</td></tr>'
    )


def _oracle(comparison: Comparison) -> str:
    last = max(comparison.pass_at_k, key=lambda point: point.num_samples, default=None)
    if last is None:
        return ""
    return (
        f'<tr class="baseline"><th scope="row">oracle: any of {count(last.num_samples)} right</th>'
        f'<td class="num strong">{percent(last.accuracy.value)}</td>'
        f'<td class="num">{percent_range(last.accuracy.low, last.accuracy.high, sign="")}</td>'
        f'<td class="num"></td><td class="num"></td><td class="drawing"></td><td class="num">{NOTHING}</td></tr>'
    )


def group_tables(comparison: Comparison) -> str:
    """Accuracy by subject, level, ...: one folded table a field, methods down and values across."""
    tables = []
    for field in dict.fromkeys(group.field for group in comparison.groups):
        of_field = [group for group in comparison.groups if group.field == field]
        found = {(group.method, group.value): group for group in of_field}
        sizes: dict[str, int] = {}
        for group in of_field:
            sizes[group.value] = max(sizes.get(group.value, 0), group.num_problems)
        values = sorted(sizes, key=lambda value: (len(value), value) if value.isdecimal() else (0, value))
        head = "".join(f'<th scope="col" class="num">{esc(v)} <small>{count(sizes[v])} problems</small></th>' for v in values)
        rows = []
        for name in (m.method for m in ranked(comparison)):
            cells = "".join(f'<td class="num">{_group_cell(found.get((name, value)))}</td>' for value in values)
            rows.append(f'<tr><th scope="row">{esc(name)}</th>{cells}</tr>')
        tables.append(
            f'<details class="numbers"><summary>Accuracy by {esc(field)}</summary><div class="scroll"><table>'
            f"<caption>Accuracy by {esc(field)}, with 95 % intervals</caption>"
            f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
        )
    return "".join(tables)


def _group_cell(group: GroupResult | None) -> str:
    if group is None:
        return NOTHING
    return f"{percent(group.accuracy.value)}<small>{percent_range(group.accuracy.low, group.accuracy.high)}</small>"


def _known(interval: Interval) -> bool:
    return math.isfinite(interval.value)
