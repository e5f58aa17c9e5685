"""The steps in which a sample decides, docs/methods.md section 6 (ours, after the fork tokens of 2506.01939)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.steps import Span, step_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ids = NDArray[np.intp]

_FORK_QUANTILE = 0.8
_KEY_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class KeySteps:
    """Which tokens and steps matter. `mass` and `drop` run parallel to `steps`."""

    steps: tuple[int, ...]  # (K,) the numbers of the steps in which tokens begin
    forks: tuple[int, ...]  # tokens in the top fifth by entropy
    mass: tuple[float, ...]  # (K,) each step's share of the forks' entropy; sums to 1, or all 0
    key: tuple[int, ...]  # the ceil(K / 5) steps of largest mass > 0, by number
    drop: tuple[float, ...]  # (K,) how far confidence falls from the step before; 0 for the first
    max_drop: int | None  # the step of the largest drop; None without tokens


def key_steps(entropy: Array, confidence: Array, step_id: Ids) -> KeySteps:
    """Find the key steps of one sample from token entropies, token confidences and the step of each token, all (T,)."""
    if not len(step_id):
        return KeySteps((), (), (), (), (), None)
    steps, place = np.unique(step_id, return_inverse=True)
    counts = np.bincount(place)
    is_fork = (entropy >= np.quantile(entropy, _FORK_QUANTILE)) & (entropy > 0.0)
    mass = np.bincount(place, weights=np.where(is_fork, entropy, 0.0))
    if mass.sum() > 0.0:
        mass = mass / mass.sum()
    num_key = math.ceil(_KEY_SHARE * len(counts) - 1e-9)
    heaviest = [k for k in np.argsort(-mass, kind="stable")[:num_key] if mass[k] > 0.0]
    means = np.bincount(place, weights=confidence) / counts
    drop = np.concatenate((means[:1], means[:-1])) - means
    return KeySteps(
        steps=tuple(steps.tolist()),
        forks=tuple(np.flatnonzero(is_fork).tolist()),
        mass=tuple(mass.tolist()),
        key=tuple(sorted(int(steps[k]) for k in heaviest)),
        drop=tuple(drop.tolist()),
        max_drop=int(steps[np.argmax(drop)]),
    )


def answer_step(text: str, steps: Sequence[Span]) -> int | None:
    r"""The number of the step that holds the last `\boxed`, else of the last step; None of an empty text."""
    if not steps:
        return None
    boxed = text.rfind("\\boxed")
    return len(steps) - 1 if boxed < 0 else int(step_ids(np.array([boxed]), steps)[0])
