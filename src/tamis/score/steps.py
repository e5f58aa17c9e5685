"""Steps of a text, their values, and the two blends, docs/methods.md section 5.

A step is a span of characters; a token belongs to the step in which it begins. `step_id` is that map, (T,) ints. A step in
which no token begins has no value and counts nowhere.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ids = NDArray[np.intp]

Span = tuple[int, int]

# Possessive runs of white space (`*+`): neighbouring ones would otherwise try every split of a long blank line.
_HEADER = re.compile(r"^[^\S\n]*+(?:#{1,6}[^\S\n]*+)?(?:\*\*)?[^\S\n]*+Step[^\S\n]*+\d+\b", re.IGNORECASE | re.MULTILINE)
_AFTER_BLANK = re.compile(r"\n[^\S\n]*\n(?=[^\S\n]*\S)")
_NEWLINE = re.compile(r"\n")
_SHORTEST_STEP = 5  # characters, outer white space not counted


def split_steps(text: str) -> list[Span]:
    """Cut a text into steps: (start, end) characters, which partition it. No steps in an empty text.

    At headers ("Step 3", "## Step 3", "**Step 3", at the start of a line) when there are two or more; else at blank lines;
    else at newlines; else not at all. Never at full stops: "3.14" and "e.g." are no ends of steps. A step of fewer than 5
    characters joins the one before it, the first the one after it.
    """
    headers = [match.start() for match in _HEADER.finditer(text)]
    cuts = headers if len(headers) >= 2 else []
    cuts = cuts or [match.end() for match in _AFTER_BLANK.finditer(text)] or [match.end() for match in _NEWLINE.finditer(text)]
    bounds = sorted({0, *cuts, len(text)})
    steps: list[Span] = []
    for start, end in pairwise(bounds):
        if steps and len(text[start:end].strip()) < _SHORTEST_STEP:
            steps[-1] = (steps[-1][0], end)
        else:
            steps.append((start, end))
    if len(steps) > 1 and len(text[: steps[0][1]].strip()) < _SHORTEST_STEP:
        steps[:2] = [(0, steps[1][1])]
    return steps


def step_ids(starts: NDArray[np.integer], steps: Sequence[Span]) -> Ids:
    """The step in which each token begins, (T,), from the tokens' first characters (T,)."""
    firsts = np.array([start for start, _ in steps], dtype=np.int64)
    return np.maximum(np.searchsorted(firsts, starts, side="right") - 1, 0)


def step_means(values: Array, step_id: Ids) -> Array:
    """Mean of a token array (T,) inside each step that holds tokens, (K,) in order of the steps."""
    _, place = np.unique(step_id, return_inverse=True)
    return np.asarray(np.bincount(place, weights=values) / np.bincount(place))


AGGREGATIONS: dict[str, Callable[[Array], float]] = {
    "mean": lambda c: float(c.mean()),
    "min": lambda c: float(c.min()),
    "max": lambda c: float(c.max()),
    "last": lambda c: float(c[-1]),
    "prod": lambda c: float(c.prod()),
    "gmean": lambda c: float(np.exp(np.log(c).mean())),
    "hmean": lambda c: float(1.0 / (1.0 / c).mean()),
}
"""Step values (K,), K >= 1, to one number; the last three are for probabilities only."""


def alpha_blend(certainty: Array, entropy: Array, step_id: Ids, alpha: float = 0.4) -> float:
    """The score of `infer`: mean over steps of alpha * (mean self-certainty) + (1 - alpha) * (mean -H).

    Alpha weighs self-certainty against negative entropy; it is not the share of each: self-certainty is of the order of 10
    nats and entropy of 0.3. See `alpha_blend_normalised`.
    """
    if not len(step_id):
        return -np.inf
    steps = alpha * step_means(certainty, step_id) - (1.0 - alpha) * step_means(entropy, step_id)
    return float(steps.mean())


def alpha_blend_normalised(certainty: Sequence[float], neg_entropy: Sequence[float], alpha: float = 0.4) -> list[float]:
    """The alpha blend after each part was brought to mean 0 and deviation 1 over a problem's samples (ours).

    Both arguments hold one number a sample: its mean over steps, as `alpha_blend` gives with alpha 1 and with alpha 0.
    """
    pairs = zip(zscores(certainty), zscores(neg_entropy), strict=True)
    return [alpha * c + (1.0 - alpha) * h for c, h in pairs]


def lambda_blend(confidence: Array, logp: Array, step_id: Ids, weight: float = 0.5) -> float:
    """The score of `compare`: mean over steps of C^(1 - lambda) * P^lambda.

    C is the step's mean token confidence (negative: 0), P the exponential of its mean log-probability.
    """
    if not len(step_id):
        return -np.inf
    c = np.maximum(step_means(confidence, step_id), 0.0)
    p = np.exp(step_means(logp, step_id))
    return float((c ** (1.0 - weight) * p**weight).mean())


def token_step_blend(values: Array, step_id: Ids, alpha: float = 0.4, aggregation: str = "min") -> float:
    """Of one confidence: alpha * (mean over tokens) + (1 - alpha) * (an aggregate of the step means) (ours)."""
    if not len(step_id):
        return -np.inf
    return alpha * float(values.mean()) + (1.0 - alpha) * AGGREGATIONS[aggregation](step_means(values, step_id))


# --- within one problem ----------------------------------------------------------------------------------------------

_LEAST_DEVIATION = 1e-8


def zscores(values: Sequence[float]) -> list[float]:
    """Values minus their mean, over their population deviation; all 0 when that is 1e-8 or less."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return []
    deviation = float(array.std())
    return ((array - array.mean()) / deviation).tolist() if deviation > _LEAST_DEVIATION else [0.0] * len(array)


def score_norm(values: Sequence[float | None]) -> list[float | None]:
    """1 / (1 + exp(-3 z)) of a problem's scores, z as in `zscores`; None stays None and takes no part."""
    squashed = iter(1.0 / (1.0 + np.exp(-3.0 * z)) for z in zscores([v for v in values if v is not None]))
    return [None if value is None else float(next(squashed)) for value in values]
