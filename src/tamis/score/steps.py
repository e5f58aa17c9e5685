"""Values of steps, and the two blends, docs/methods.md section 5.

`step_id` is the step in which each token begins, (T,) ints (`tamis.steps`). A step in which no token begins has no value and
counts nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ids = NDArray[np.intp]


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

    C is the step's confidence, (K,) in the order of the steps that hold tokens (negative: 0), P the exponential of the mean
    log-probability (T,) of its tokens.
    """
    if not len(step_id):
        return -np.inf
    p = np.exp(step_means(logp, step_id))
    return float((np.maximum(confidence, 0.0) ** (1.0 - weight) * p**weight).mean())


def token_step_blend(values: Array, step_id: Ids, alpha: float = 0.4, aggregation: str = "min") -> float:
    """Of one confidence: alpha * (mean over tokens) + (1 - alpha) * (an aggregate of the step means) (ours)."""
    if not len(step_id):
        return -np.inf
    return alpha * float(values.mean()) + (1.0 - alpha) * AGGREGATIONS[aggregation](step_means(values, step_id))


# --- within one problem ----------------------------------------------------------------------------------------------

_LEAST_DEVIATION = 1e-8


def zscores(values: Sequence[float]) -> list[float]:
    """Values minus their mean, over their population deviation; all 0 when that is 1e-8 or less.

    A value that is not finite takes no part and becomes NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    if not len(known):
        return [np.nan] * len(array)
    deviation = float(known.std())
    z = (array - known.mean()) / deviation if deviation > _LEAST_DEVIATION else np.zeros(len(array))
    return list(np.where(np.isfinite(array), z, np.nan).tolist())


def score_norm(values: Sequence[float | None]) -> list[float | None]:
    """1 / (1 + exp(-3 z)) of a problem's scores, z as in `zscores`; None stays None and takes no part."""
    squashed = iter(1.0 / (1.0 + np.exp(-3.0 * z)) for z in zscores([v for v in values if v is not None]))
    return [None if value is None else float(next(squashed)) for value in values]
