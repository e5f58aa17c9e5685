"""The scorers by name, and `score_pool`, which gives every sample of a problem a value or the reason why it has none.

To add a scorer: write a function of a `Trace`, add a line to `SCORERS`, and show in tests/score/ what it gives.
Left out because they rank samples exactly as one that is here: perplexity (logprob), cross-entropy to uniform
(self-certainty), 1 - H / ln V (neg-entropy). neg-dp is here: a mean of exp(H) does not rank as a mean of H.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from tamis.records import Pool, Sample, Score, TokenStats, Unscored
from tamis.score import sequence, steps, tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KANG = "Kang et al. 2025, arXiv 2502.18581"
DEEPCONF = "Fu et al. 2025, arXiv 2508.15260"


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What can be set about scores; the defaults are those of docs/methods.md."""

    alpha: float = 0.4  # `infer`: self-certainty against negative entropy
    normalize: Literal["none", "zscore"] = "none"  # `infer`: bring both parts to one scale within each problem first
    lambda_weight: float = 0.5  # `lambda-*`: step probability against confidence
    window: int | Literal["auto"] = "auto"  # `deepconf-*`: tokens a group


@dataclass(frozen=True, eq=False)
class Trace:
    """What a scorer sees of a sample: its statistics (T >= 1), its text, and what its problem and the settings fix."""

    stats: TokenStats
    text: str
    window: int
    settings: ScoreSettings

    @cached_property
    def step_id(self) -> NDArray[np.intp]:
        """The step in which each token begins, (T,)."""
        return steps.step_ids(self.stats.starts, steps.split_steps(self.text))


@dataclass(frozen=True, slots=True)
class Scorer:
    """A score: `values` maps the traces of ONE problem to a float each; higher is better, NaN is undefined."""

    values: Callable[[Sequence[Trace]], Sequence[float]]
    description: str
    source: str


def _each(function: Callable[[Trace], float]) -> Callable[[Sequence[Trace]], Sequence[float]]:
    """A scorer that looks at one sample at a time."""
    return lambda traces: [function(trace) for trace in traces]


def _mean(array: Callable[[TokenStats], NDArray[np.float64]]) -> Callable[[Sequence[Trace]], Sequence[float]]:
    return _each(lambda trace: sequence.mean(array(trace.stats)))


def _alpha_blend(trace: Trace, alpha: float) -> float:
    return steps.alpha_blend(tokens.self_certainty(trace.stats), tokens.entropy(trace.stats), trace.step_id, alpha)


def _infer(traces: Sequence[Trace]) -> Sequence[float]:
    if not traces or traces[0].settings.normalize == "none":
        return [_alpha_blend(trace, trace.settings.alpha) for trace in traces]
    certainty, neg_entropy = ([_alpha_blend(trace, alpha) for trace in traces] for alpha in (1.0, 0.0))
    return steps.alpha_blend_normalised(certainty, neg_entropy, traces[0].settings.alpha)


def _lambda_blend(confidence: Callable[[TokenStats], NDArray[np.float64]]) -> Callable[[Sequence[Trace]], Sequence[float]]:
    return _each(
        lambda trace: steps.lambda_blend(
            confidence(trace.stats), tokens.logp(trace.stats), trace.step_id, trace.settings.lambda_weight
        )
    )


SCORERS: dict[str, Scorer] = {
    "self-certainty": Scorer(_mean(tokens.self_certainty), "mean KL(uniform || p) over the tokens", KANG),
    "neg-entropy": Scorer(_mean(lambda s: -tokens.entropy(s)), "minus the mean entropy", KANG),
    "neg-dp": Scorer(_mean(tokens.neg_distributional_perplexity), "minus the mean of exp(entropy)", KANG),
    "gini": Scorer(_mean(tokens.gini), "mean of the sum of squared probabilities", KANG),
    "logprob": Scorer(_mean(tokens.logp), "mean log-probability of the sampled tokens (ranks as perplexity)", KANG),
    "sum-logprob": Scorer(
        _each(lambda t: sequence.total(tokens.logp(t.stats))), "log-probability of the whole text (favours short ones)", "-"
    ),
    "max-prob": Scorer(_mean(tokens.max_prob), "mean probability of the likeliest token", KANG),
    "margin": Scorer(
        _mean(tokens.margin), "mean gap between the two likeliest tokens", "after Wang & Zhou 2024, arXiv 2402.10200"
    ),
    "deepconf": Scorer(_mean(tokens.confidence), "mean token confidence: minus the mean of the 20 largest log-p", DEEPCONF),
    "deepconf-lowest": Scorer(
        _each(lambda t: sequence.lowest_group(tokens.confidence(t.stats), t.window)), "the least confident window", DEEPCONF
    ),
    "deepconf-bottom": Scorer(
        _each(lambda t: sequence.bottom_groups(tokens.confidence(t.stats), t.window)),
        "mean of the 10 % least confident windows",
        DEEPCONF,
    ),
    "deepconf-tail": Scorer(
        _each(lambda t: sequence.tail(tokens.confidence(t.stats), t.window)), "confidence of the last window", DEEPCONF
    ),
    "infer": Scorer(_infer, "mean over steps of alpha * self-certainty - (1 - alpha) * entropy", "docs/methods.md section 5"),
    "lambda-self-certainty": Scorer(
        _lambda_blend(tokens.cross_entropy),
        "mean over steps of confidence^(1 - lambda) * probability^lambda, confidence: self-certainty + ln V",
        "docs/methods.md section 5",
    ),
    "lambda-entropy": Scorer(
        _lambda_blend(tokens.certainty),
        "mean over steps of confidence^(1 - lambda) * probability^lambda, confidence: 1 - H / ln V",
        "docs/methods.md section 5",
    ),
}


def score_pool(
    pool: Pool, names: Iterable[str] = tuple(SCORERS), settings: ScoreSettings | None = None
) -> tuple[dict[str, tuple[float | None, ...]], list[Score]]:
    """Score every sample of one problem by each named scorer.

    Returns:
        `Pool.scores` (scorer -> a value a sample, None where there is none), and the same as records with reasons:
        "engine_error" (the sample failed), "no_statistics", "empty" (no token; the formulas say -inf, which selection makes
        of None again), "undefined" (NaN or infinite).

    Raises:
        KeyError: a name that is not in `SCORERS`.
    """
    settings = settings or ScoreSettings()
    missing = [missing_reason(sample) for sample in pool.samples]
    scored = [(sample, sample.stats) for sample, reason in zip(pool.samples, missing, strict=True) if reason is None]
    window = sequence.deepconf_window([len(stats) for _, stats in scored if stats is not None], settings.window)
    traces = [Trace(stats, sample.text, window, settings) for sample, stats in scored if stats is not None]
    table: dict[str, tuple[float | None, ...]] = {}
    records: list[Score] = []
    for name in names:
        values = iter(SCORERS[name].values(traces))
        row: list[float | None] = []
        for sample, reason in zip(pool.samples, missing, strict=True):
            value = None if reason else float(next(values))
            if value is not None and not math.isfinite(value):
                value, reason = None, "undefined"
            row.append(value)
            records.append(Score(sample.key, name, value, reason))
        table[name] = tuple(row)
    return table, records


def with_scores(pool: Pool, names: Iterable[str] = tuple(SCORERS), settings: ScoreSettings | None = None) -> Pool:
    """The pool with the named scores added to those it has."""
    return replace(pool, scores={**pool.scores, **score_pool(pool, names, settings)[0]})


def missing_reason(sample: Sample) -> Unscored | None:
    """Why no scorer here can score a sample; None: they can, though a value may still be undefined."""
    if sample.error:
        return "engine_error"
    if sample.stats is None:
        return "no_statistics"
    return None if len(sample.stats) else "empty"
