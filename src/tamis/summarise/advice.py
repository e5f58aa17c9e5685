"""Which method to use at which budget, in words that claim no more than what was measured."""

from __future__ import annotations

from math import isfinite

from tamis.summarise.results import ONE_SAMPLE, Budget, Comparison, Frontier, FrontierPoint, Interval

FEW_PROBLEMS = 30
"""Below it nothing is called better or worse: the intervals are rough, and a single problem moves everything."""
MOST_NAMES = 3


def advice(comparison: Comparison) -> list[str]:
    """The recommendation in one line, then the best method at each budget in another; none where there is nothing to choose."""
    found = comparison.frontier
    if found is None:
        return []
    lines = [_recommendation(found)]
    if len(found.budgets) > 2:
        lines.append("best by samples a problem: " + "; ".join(_short(b) for b in found.budgets[1:]))
    return lines


def _recommendation(found: Frontier) -> str:
    best = found.best
    few = f"but too few problems ({found.num_problems}) to tell methods apart" if found.num_problems < FEW_PROBLEMS else ""
    leads = f"{_place(best.best)}: {best.best.method}, {best.best.accuracy.value:.3f}"
    if best.best.method == ONE_SAMPLE:
        ahead = f"no method is ahead of one sample ({best.best.accuracy.value:.3f})"
        return f"{ahead}, {few}" if few else f"{ahead} on {found.num_problems:,} problems: draw one"
    gain = f"({_signed(best.difference)} against one sample)"
    share = f"best of {found.num_methods} in {100 * best.share_best:.0f} % of {found.num_resamples:,} resamples of the problems"
    if few:
        return f"{leads} leads {gain}, {few}; {share}"
    apart = f"; not told apart from it: {_names(best.not_apart)}" if best.not_apart else ""
    line = f"{leads} {gain}; {share}{apart}"
    if not best.difference.low > 0:
        return f"{line}; not measurably better than one sample"
    return line + _enough(found.enough, best.best)


def _enough(enough: FrontierPoint, best: FrontierPoint) -> str:
    """What is cheaper and not measurably worse; nothing where that is the best itself."""
    if (enough.method, enough.num_samples) == (best.method, best.num_samples):
        return "; nothing cheaper does as well"
    return f"; not measurably worse and cheaper: {enough.method} {_place(enough)}, {enough.accuracy.value:.3f}"


def _place(point: FrontierPoint) -> str:
    samples = "1 sample" if point.num_samples == 1 else f"{point.num_samples} samples"
    return f"with {samples}" + (f" ({point.tokens:,.0f} tokens a problem)" if isfinite(point.tokens) else "")


def _short(budget: Budget) -> str:
    best = budget.best
    tokens = f"{best.tokens:,.0f} tokens, " if isfinite(best.tokens) else ""
    return f"{best.num_samples}: {best.method} {best.accuracy.value:.3f} ({tokens}best in {100 * budget.share_best:.0f} %)"


def _signed(interval: Interval) -> str:
    if not isfinite(interval.low):
        return f"{interval.value:+.3f}"
    return f"{interval.value:+.3f}, {interval.low:+.3f} .. {interval.high:+.3f}"


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
