"""What the likeliest tokens tell of the statistics, where the exact ones are not to be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.records import STATISTICS

NUM_TOP = 20
_PLACE = {name: place for place, name in enumerate(STATISTICS)}


def stats_of_top(ids: Sequence[int], said: Sequence[Mapping[int, Any]]) -> NDArray[np.float32] | None:
    """The statistics (T, 9) of tokens, from vLLM's `Logprob`s of the 20 likeliest and of the token drawn; None: there are none.

    NaN where it takes the whole vocabulary: `entropy`, `mean_logp`, `sum_p2`.
    """
    if len(said) < len(ids):
        return None
    values = np.full((len(ids), len(STATISTICS)), np.nan, dtype=np.float32)
    for row, token, entries in zip(values, ids, said, strict=False):
        top = np.array(sorted((entry.logprob for entry in entries.values()), reverse=True)[:NUM_TOP])
        row[_PLACE["logp"]], row[_PLACE["rank"]] = entries[token].logprob, entries[token].rank
        row[_PLACE["lp1"]] = top[0]
        row[_PLACE["lp2"]] = top[1] if len(top) > 1 else -np.inf
        finite = top[np.isfinite(top)]
        row[_PLACE["sum_top5"]], row[_PLACE["sum_top20"]] = finite[:5].sum(), finite.sum()
    return values
