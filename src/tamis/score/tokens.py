"""What each token's distribution says: (T,) float64 arrays out of the nine stored numbers, docs/methods.md section 1.

All are of the raw distribution that produced the token, in nats; higher means more confident, entropies excepted.
A distribution may be masked (logits of -inf): then V is the number of finite logits, as everywhere in these formulas, and
whoever makes the `TokenStats` gives that number as `vocab_size` and takes the nine numbers over the finite logits only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.records import TokenStats

    Array = NDArray[np.float64]


def logp(stats: TokenStats) -> Array:
    """Log-probability of each sampled token, (T,) nats, <= 0."""
    return stats.column("logp")


def entropy(stats: TokenStats) -> Array:
    """Shannon entropy H, (T,) nats, >= 0. Higher is LESS confident."""
    return np.maximum(stats.column("entropy"), 0.0)


def cross_entropy(stats: TokenStats) -> Array:
    """Cross-entropy of the uniform distribution to p, (T,) nats, >= ln V (Kang et al. 2502.18581, eq. 10)."""
    return -stats.column("mean_logp")


def self_certainty(stats: TokenStats) -> Array:
    """KL(uniform || p) = cross-entropy - ln V, (T,) nats, >= 0 (Kang et al. 2502.18581, eq. 9)."""
    return cross_entropy(stats) - math.log(stats.vocab_size)


def max_prob(stats: TokenStats) -> Array:
    """Probability of the likeliest token, (T,) in (0, 1]."""
    return np.exp(stats.column("lp1"))


def margin(stats: TokenStats) -> Array:
    """Probability of the likeliest token minus that of the second, (T,) in [0, 1] (Wang & Zhou 2402.10200)."""
    return max_prob(stats) - np.exp(stats.column("lp2"))


def log_margin(stats: TokenStats) -> Array:
    """Log-probability of the likeliest token minus that of the second, (T,) nats; +inf where V = 1."""
    return stats.column("lp1") - stats.column("lp2")


def gini(stats: TokenStats) -> Array:
    """Sum of squared probabilities, (T,) in [1/V, 1] ("Gini impurity" in 2502.18581; higher is sharper)."""
    return stats.column("sum_p2")


def neg_distributional_perplexity(stats: TokenStats) -> Array:
    """-exp(H), (T,) <= -1 (Kang et al. 2502.18581)."""
    return -np.exp(entropy(stats))


def confidence(stats: TokenStats, k: Literal[5, 20] = 20) -> Array:
    """DeepConf's token confidence: minus the mean of the k largest log-probabilities, (T,) nats, >= 0 (2508.15260).

    With fewer than k tokens in the vocabulary the mean is over all of them.
    """
    return -stats.column(f"sum_top{k}") / min(k, stats.vocab_size)


def certainty(stats: TokenStats) -> Array:
    """1 - H / ln V, (T,) in [0, 1]; 1 where V = 1, for then nothing is uncertain."""
    if stats.vocab_size == 1:
        return np.ones(len(stats))
    highest = math.log(stats.vocab_size)
    h = entropy(stats)
    # The fp32 nearest to ln V says "uniform"; its rounding, 1e-8, would become 1e-4 under the square root of a blend.
    return np.where(h == np.float32(highest), 0.0, np.clip(1.0 - h / highest, 0.0, 1.0))
