"""`compare`: every method on the same pools, with intervals, paired differences and curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tamis.records import Pool
from tamis.select.methods import METHODS, Method, find_method
from tamis.summarise.collect import Collected, ProblemNumbers, Taken
from tamis.summarise.curves import Expected, curve_sizes, expected
from tamis.summarise.frontier import frontier
from tamis.summarise.intervals import mean_interval, paired_difference, wilson
from tamis.summarise.quality import risk_coverage, score_quality
from tamis.summarise.results import ONE_SAMPLE, ORACLE, Comparison, CurvePoint, GroupResult, Interval, MethodResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def _has_values(problems: Sequence[ProblemNumbers], scorer: str | None) -> bool:
    """Whether there is anything that a method could go by."""
    return any(scorer is None or np.isfinite(p.scores[scorer]).any() for p in problems)


class Comparer:
    """`compare`, a pool at a time: `add` each, then ask for the `result`."""

    def __init__(
        self,
        methods: Iterable[str | Method] | None = None,
        *,
        group_by: Sequence[str] = (),
        num_certain: int | None = None,
    ) -> None:
        """Of methods by name or as they are (None: all that are known).

        Args:
            methods: What to compare.
            group_by: See `compare`.
            num_certain: Where a stopping rule decided how many samples each problem has: the first so many, which it always
                draws, stand for the model. None: all samples of a pool do.
        """
        names = METHODS if methods is None else methods
        found = [find_method(m) if isinstance(m, str) else m for m in names]
        self._collected = Collected(found, group_by, num_certain)

    def add(self, pool: Pool) -> None:
        """Let every method choose from a pool; its numbers are kept, the pool is not."""
        self._collected.add(pool)

    def result(self, *, seed: int = 0) -> Comparison:
        """All that the pools so far say."""
        collected = self._collected
        problems, left_out = collected.problems, _problems_left_out(collected)
        fewest = min((len(p.correct) for p in problems), default=0)
        sizes = curve_sizes(fewest)
        graded = [p for p in problems if not np.isnan(p.correct).any()]
        if len(graded) < len(problems):
            left_out.append(f"{_problems(len(problems) - len(graded))} with ungraded samples: not in the curves, nor in pass@k")
        if problems and fewest < (most := max(len(p.correct) for p in problems)):
            ends = f"curves end at {fewest} samples, the fewest that a problem has (the most: {most})"
            bias = "if a stopping rule chose the numbers, one sample, pass@k and curves look better than they are"
            left_out.append(f"{ends}: {bias}")

        first_line = Method(ONE_SAMPLE, None, METHODS["baseline"].rule, "", "", curve="first", num_paid="one")
        known = {m.name: [p for p in problems if m.name in p.taken] for m in collected.methods}
        by_scorer = {m.name: m.scorer for m in collected.methods}
        unscored = [name for name, members in known.items() if problems and not _has_values(members, by_scorer[name])]
        shown = [method for method in collected.methods if method.name not in unscored]
        tables = expected(graded, [first_line, *shown, None], sizes, seed)
        pass_at_k = _curve(graded, tables[-1], sizes)
        lines = [_one_sample_line(problems, _curve(graded, tables[0], sizes))]
        for method, table in zip(shown, tables[1:], strict=False):
            members = known[method.name]
            if len(members) < len(problems):
                left_out.append(f"{method.name}: {_problems(len(problems) - len(members))} without the score {method.scorer}")
            lines.append(_method_line(method, members, _curve(graded, table, sizes), left_out))
        if unscored:
            left_out.append(f"methods whose scores no sample has: {', '.join(unscored)}")
        lines.append(_oracle_line(problems, pass_at_k))
        # A method of the curve "first" is one sample under another name.
        able = [m for m in (first_line, *shown) if m is first_line or m.curve != "first"]
        by_name = {m.name: table for m, table in zip((first_line, *shown), tables, strict=False) if m in able}
        best_for = frontier(graded, by_name, sizes, seed)
        if best_for and best_for.left_out:
            left_out.append(f"not recommended, for too few problems have their scores: {', '.join(best_for.left_out)}")
        return Comparison(
            num_problems=len(problems),
            samples_per_problem=fewest,
            methods=tuple(lines),
            pass_at_k=pass_at_k,
            health=collected.health,
            left_out=tuple(left_out),
            groups=tuple(_groups(problems, [line.method for line in lines], collected.group_by)),
            frontier=best_for,
        )


def compare(
    pools: Iterable[Pool], methods: Iterable[str | Method] | None = None, *, seed: int = 0, group_by: Sequence[str] = ()
) -> Comparison:
    """Run methods on pools of graded, clustered and scored samples.

    Pools are read once and not kept. The lines, in order: `one sample` (the mean over the pool: what one sample drawn at
    random gets), each method on the whole pool, `oracle` (some sample is right).

    A line counts the problems whose choice could be graded. Its accuracy has Wilson's interval where problems are right or
    wrong, the normal one where they are means. Its difference is to `one sample`, problem by problem. A curve is the
    mean over problems at N = 1, 2, 4, ... of what the method is expected to get from N samples of the pool, with normal bands;
    it splits ties evenly where it is exact, so that its end may differ a little from the line, which takes samples in order.

    Args:
        pools: with grades, clusters, and the scores that the methods go by.
        methods: names or methods; None: all that are known.
        seed: of the subsets on which methods without an exact formula are run.
        group_by: names of metadata fields, such as subject or level: accuracies for each of their values
            are added; a problem without the field has the value "", a field that none has is passed over.

    Raises:
        UsageError: no such method.
    """
    comparer = Comparer(methods, group_by=group_by)
    for pool in pools:
        comparer.add(pool)
    return comparer.result(seed=seed)


# --- lines -----------------------------------------------------------------------------------------------------------


def _one_sample_line(problems: Sequence[ProblemNumbers], curve: tuple[CurvePoint, ...]) -> MethodResult:
    accuracy = mean_interval(np.array([p.one_sample for p in problems]), bounds=(0.0, 1.0))
    tokens = _mean([p.tokens_all / len(p.correct) for p in problems])
    return MethodResult(ONE_SAMPLE, accuracy, None, len(problems), 0, tokens, curve)


def _oracle_line(problems: Sequence[ProblemNumbers], curve: tuple[CurvePoint, ...]) -> MethodResult:
    known = [p for p in problems if not np.isnan(p.oracle)]
    right = np.array([p.oracle for p in known])
    tokens = _mean([p.tokens_pool for p in known])
    return MethodResult(ORACLE, wilson(right.sum(), len(right)), _difference(right, known), len(known), 0, tokens, curve)


def _method_line(
    method: Method, problems: Sequence[ProblemNumbers], curve: tuple[CurvePoint, ...], left_out: list[str]
) -> MethodResult:
    known = [p for p in problems if not np.isnan(p.taken[method.name].right)]
    if len(known) < len(problems):
        left_out.append(f"{method.name}: {_problems(len(problems) - len(known))} whose choice could not be graded")
    right = np.array([p.taken[method.name].right for p in known])
    return MethodResult(
        method=method.name,
        accuracy=wilson(right.sum(), len(right)),
        difference=_difference(right, known),
        num_problems=len(known),
        num_abstained=sum(p.taken[method.name].abstained for p in known),
        tokens_per_problem=_mean([p.taken[method.name].tokens for p in known]),
        curve=curve,
        risk_coverage=risk_coverage(problems, method),
        **score_quality(problems, method),
    )


def _difference(right: Floats, problems: Sequence[ProblemNumbers]) -> Interval:
    return paired_difference(right, np.array([p.one_sample for p in problems]))


def _curve(problems: Sequence[ProblemNumbers], table: Expected, sizes: Sequence[int]) -> tuple[CurvePoint, ...]:
    rows = np.flatnonzero(~np.isnan(table.accuracy).any(axis=1))
    if not len(rows):
        return ()
    a_sample = np.array([problems[i].tokens_all / len(problems[i].correct) for i in rows.tolist()])
    tokens = (table.num_paid[rows] * a_sample[:, None]).mean(axis=0)
    accuracy = [mean_interval(column, bounds=(0.0, 1.0)) for column in table.accuracy[rows].T]
    return tuple(CurvePoint(n, at, float(paid)) for n, at, paid in zip(sizes, accuracy, tokens, strict=True))


def _groups(problems: Sequence[ProblemNumbers], lines: Sequence[str], group_by: Sequence[str]) -> Iterable[GroupResult]:
    for place, name in enumerate(group_by):
        values = {p.labels[place] for p in problems}
        for value in sorted(values) if values != {""} else ():
            members = [p for p in problems if p.labels[place] == value]
            for line in lines:
                if line == ONE_SAMPLE:
                    accuracy = mean_interval(np.array([p.one_sample for p in members]), bounds=(0.0, 1.0))
                    yield GroupResult(name, value, line, len(members), accuracy)
                    continue
                right = np.array([p.oracle if line == ORACLE else p.taken.get(line, _UNKNOWN).right for p in members])
                right = right[~np.isnan(right)]
                yield GroupResult(name, value, line, len(right), wilson(right.sum(), len(right)))


_UNKNOWN = Taken(float("nan"))


# --- words -----------------------------------------------------------------------------------------------------------


def _problems_left_out(collected: Collected) -> list[str]:
    return [f"{_problems(count)} {reason}" for reason, count in collected.left_out.items()]


def _problems(count: int) -> str:
    return f"{count} problem" if count == 1 else f"{count} problems"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
