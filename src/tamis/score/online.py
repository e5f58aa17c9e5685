"""DeepConf online (Fu et al. 2508.15260): the bar that the first samples set for the others, docs/methods.md section 3.

The first 16 samples are drawn whole. The 90th percentile (type 7) of their lowest group confidences is the bar: a later
sample is given up at its first full window below it, and of the first only those that reach it vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tamis.records import Watch
from tamis.score.sequence import deepconf_window, lowest_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

WARM_UP = 16
"""Samples that are drawn whole."""
_BAR = 90  # percentile: the published eta of 10 %


def watch_after(warm_up: Sequence[Array], window: int | Literal["auto"] = "auto") -> Watch | None:
    """The window and the bar that warm-up samples set by their token confidences, (T,) each; None: there is no such sample."""
    if not warm_up:
        return None
    size = deepconf_window([len(values) for values in warm_up], window)
    return Watch(size, float(np.percentile([lowest_group(values, size) for values in warm_up], _BAR)))


def uncut_weights(confidences: Sequence[Array], indices: Sequence[int], window: int | Literal["auto"] = "auto") -> list[float]:
    """What each sample weighs in the vote, its lowest group confidence; NaN: it is below the bar, or would be given up.

    Args:
        confidences: Token confidences, (T,) a sample, T >= 1.
        indices: The samples' indices: the first 16 are the warm-up.
        window: Tokens a group; auto: by the lengths of the warm-up.
    """
    watch = watch_after([values for values, index in zip(confidences, indices, strict=True) if index < WARM_UP], window)
    if watch is None:
        watch = Watch(deepconf_window([len(values) for values in confidences], window), -np.inf)
    weights = []
    for values, index in zip(confidences, indices, strict=True):
        weight = lowest_group(values, watch.window)
        counts = weight >= watch.least or (index >= WARM_UP and len(values) < watch.window)  # only full windows cut
        weights.append(weight if counts else np.nan)
    return weights
