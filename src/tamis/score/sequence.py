"""One number a sample out of its tokens' arrays, docs/methods.md sections 2 and 3. Empty arrays score -inf."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MIN_WINDOW, MAX_WINDOW = 16, 2048
"""Bounds of an automatic window, in tokens; the upper one is the window of the DeepConf paper."""


def mean(values: Array) -> float:
    """Mean over the tokens (T,); of the log-probabilities this is `avg_logp`, which ranks as perplexity does."""
    return float(values.mean()) if len(values) else -np.inf


def total(values: Array) -> float:
    """Sum over the tokens (T,); of the log-probabilities this is the likelihood, which favours short outputs."""
    return float(values.sum()) if len(values) else -np.inf


def perplexity(logp: Array) -> float:
    """exp(-mean log-probability), >= 1; lower is better; +inf without tokens."""
    with np.errstate(over="ignore"):
        return float(np.exp(-mean(logp)))


# --- DeepConf (Fu et al. 2508.15260) ---------------------------------------------------------------------------------


def deepconf_window(lengths: Sequence[int], window: int | Literal["auto"] = "auto") -> int:
    """The size of a group in tokens, the same for all samples of a problem.

    The paper's 2,048 makes all group scores equal the mean when outputs are shorter. `auto` is an eighth of the median
    length of the problem's samples, between 16 and 2,048 (ours).
    """
    if window != "auto":
        return window
    return min(max(round(median(lengths) / 8), MIN_WINDOW), MAX_WINDOW) if lengths else MIN_WINDOW


def group_confidence(values: Array, window: int) -> Array:
    """Mean token confidence of each full window, (T - window + 1,); one group of all when T < window; none when T = 0."""
    if window == 1:
        return values
    if len(values) < window:
        return values.mean(keepdims=True) if len(values) else values
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray((sums[window:] - sums[:-window]) / window)


def lowest_group(values: Array, window: int) -> float:
    """The least confident group."""
    return float(group_confidence(values, window).min()) if len(values) else -np.inf


def bottom_groups(values: Array, window: int, q: float = 0.1) -> float:
    """Mean of the floor(q G) least confident of the G groups, of one at least."""
    if not len(values):
        return -np.inf
    groups = np.sort(group_confidence(values, window))
    # The tolerance: 0.1 * 30 is 3.0000000000000004 and its like may fall on the other side.
    return float(groups[: max(1, int(q * len(groups) + 1e-9))].mean())


def tail(values: Array, window: int) -> float:
    """Mean of the last `window` tokens."""
    return mean(values[-window:])
