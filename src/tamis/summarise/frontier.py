"""Which method to use at which budget, and how sure that is: from the table of every method on every problem at every N.

The problems are what was drawn by chance, so uncertainty is over problems: normal intervals of paired differences, and a
bootstrap that asks how often the method that is best here would be best on other problems like these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from tamis.summarise.collect import ProblemNumbers
from tamis.summarise.curves import Expected
from tamis.summarise.intervals import Z_95, mean_interval, paired_difference
from tamis.summarise.results import ONE_SAMPLE, Budget, Frontier, FrontierPoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100
MOST_UNKNOWN = 0.05
"""A method that knows fewer of the problems takes no part; problems that some other method does not know take none either."""
DIGITS = 9
"""Accuracies that agree so far are equal: sums of the same numbers differ in the last digits."""


def frontier(
    problems: Sequence[ProblemNumbers], curves: Mapping[str, Expected], sizes: Sequence[int], seed: int
) -> Frontier | None:
    """The best method at each N, and the points of the best accuracy for their tokens; None below two samples or a problem.

    Args:
        problems: graded throughout.
        curves: method -> its table; `one sample` is among them. The order of neither changes the result.
        sizes: the N of the columns, rising.
        seed: of the resamples.
    """
    known = {name: ~np.isnan(curve.accuracy).any(axis=1) for name, curve in curves.items()}
    left_out = tuple(sorted(name for name in curves if known[name].sum() < (1.0 - MOST_UNKNOWN) * len(problems)))
    # One sample first, so that it wins ties; the others by name.
    names = sorted(curves.keys() - set(left_out), key=lambda name: (name != ONE_SAMPLE, name))
    if not problems or len(sizes) < 2 or not (everywhere := np.all([known[name] for name in names], axis=0)).any():
        return None
    rows = sorted(map(int, np.flatnonzero(everywhere)), key=lambda i: (problems[i].id, *problems[i].correct))
    accuracy = np.stack([curves[name].accuracy[rows] for name in names])  # (methods, P, sizes)
    a_sample = np.array([problems[i].tokens_all / len(problems[i].correct) for i in rows])
    tokens = np.array([(curves[name].num_paid[rows] * a_sample[:, None]).mean(axis=0) for name in names])
    cost = np.array([curves[name].num_paid[rows].mean(axis=0) for name in names]) if np.isnan(tokens).any() else tokens

    means = accuracy.mean(axis=1).round(DIGITS)  # (methods, sizes)
    best = np.array([_best(means[:, place], cost[:, place]) for place in range(len(sizes))])
    shares = _shares_best(accuracy, best, seed)
    one_sample = accuracy[0, :, 0]

    def point(method: int, place: int) -> FrontierPoint:
        interval = mean_interval(accuracy[method, :, place], bounds=(0.0, 1.0))
        return FrontierPoint(names[method], sizes[place], float(tokens[method, place]), interval)

    budgets = tuple(
        Budget(
            best=point(method, place),
            difference=paired_difference(accuracy[method, :, place], one_sample),
            share_best=float(shares[place]),
            not_apart=tuple(names[i] for i in _not_apart(accuracy[:, :, place], method)),
        )
        for place, method in enumerate(best)
    )
    efficient = _efficient(means, cost)
    top_place = int(np.argmax([means[method, place] for place, method in enumerate(best)]))
    top = accuracy[best[top_place], :, top_place]
    enough = next((m, n) for m, n in efficient if not _is_worse(accuracy[m, :, n], top))
    return Frontier(
        num_problems=len(rows),
        num_methods=len(names),
        num_resamples=NUM_RESAMPLES,
        budgets=budgets,
        points=tuple(point(m, n) for m, n in efficient),
        enough=point(*enough),
        left_out=left_out,
    )


def _best(means: Floats, cost: Floats) -> int:
    """The most accurate method (methods,); of equals the cheapest, then the first."""
    return int(np.lexsort((cost, -means))[0])


def _shares_best(accuracy: Floats, best: NDArray[np.intp], seed: int) -> Floats:
    """Share of the resamples in which no method beats the best one at each N, (sizes,)."""
    num_methods, num_problems, num_sizes = accuracy.shape
    table = accuracy.transpose(1, 2, 0).reshape(num_problems, num_sizes * num_methods)
    rng = np.random.default_rng(seed)
    wins = np.zeros(num_sizes)
    for _ in range(NUM_RESAMPLES // RESAMPLES_AT_ONCE):
        drawn = rng.integers(0, num_problems, (RESAMPLES_AT_ONCE, num_problems))
        drawn += np.arange(RESAMPLES_AT_ONCE)[:, None] * num_problems
        times = np.bincount(drawn.ravel(), minlength=RESAMPLES_AT_ONCE * num_problems).reshape(RESAMPLES_AT_ONCE, num_problems)
        means = (
            (times.astype(np.float64) @ table / num_problems).round(DIGITS).reshape(RESAMPLES_AT_ONCE, num_sizes, num_methods)
        )
        wins += (means[:, np.arange(num_sizes), best] >= means.max(axis=2)).sum(axis=0)
    return wins / NUM_RESAMPLES


def _not_apart(accuracy: Floats, best: int) -> list[int]:
    """The methods of (methods, P) that the best is not measurably better than, best first."""
    others = [i for i in range(len(accuracy)) if i != best and not _is_worse(accuracy[i], accuracy[best])]
    return sorted(others, key=lambda i: (-accuracy[i].mean().round(DIGITS), i))


def _is_worse(values: Floats, best: Floats) -> bool:
    """Whether the interval of the paired difference, (P,) each, lies wholly below 0. One problem measures nothing."""
    difference = (values - best).round(DIGITS)
    if len(difference) < 2:
        return False
    return bool(difference.mean() + Z_95 * difference.std(ddof=1) / sqrt(len(difference)) < 0.0)


def _efficient(means: Floats, cost: Floats) -> list[tuple[int, int]]:
    """The (method, place) of (methods, sizes) that nothing as cheap equals in accuracy, rising in both."""
    order = np.lexsort((np.arange(means.size), -means.ravel(), cost.ravel().round(DIGITS)))
    kept: list[tuple[int, int]] = []
    highest = -1.0
    for flat in order:
        method, place = divmod(int(flat), means.shape[1])
        if means[method, place] > highest:
            highest = means[method, place]
            kept.append((method, place))
    return kept
