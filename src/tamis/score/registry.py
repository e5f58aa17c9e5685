"""The scorers by name, and `score_pool`, which gives every sample of a problem a value or the reason why it has none.

To add a scorer: write a function of a `Trace`, add a line to `SCORERS`, and show in tests/score/ what it gives.
Left out because they rank samples exactly as one that is here: perplexity (logprob), cross-entropy to uniform
(mean-self-certainty), 1 - H / ln V (neg-entropy). neg-dp is here: a mean of exp(H) does not rank as a mean of H.

`self-certainty`, `entropy`, `coe-c` and `self-eval` are the blends of the best-of-N workflow, step by step; what the papers
define over a whole answer is mean-self-certainty, neg-entropy, coe-r and coe-c-whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tamis.config import ScoreSettings
from tamis.records import Pool, Sample, Score, TokenStats, Unscored
from tamis.score import coe, cot_decoding, online, reward, sequence, steps, tokens
from tamis.steps import split_steps, step_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

KANG = "Kang et al. 2025, arXiv 2502.18581"
DEEPCONF = "Fu et al. 2025, arXiv 2508.15260"
COE = "Wang et al. 2024, arXiv 2410.13640"
SELF_EVAL = "Xie et al. 2023, arXiv 2305.00633"
STEPS = "docs/methods.md section 5"

STATISTICS, HIDDEN_STATES = "statistics", "hidden states"
"""What a scorer may need of a sample besides its text; all else that it needs is a verdict of that name."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a scorer sees of a sample, which has all that the scorer needs, and what its problem and the settings fix."""

    sample: Sample
    window: int
    settings: ScoreSettings

    @property
    def stats(self) -> TokenStats:
        """The token statistics, T >= 1."""
        assert self.sample.stats is not None
        return self.sample.stats

    @cached_property
    def step_id(self) -> NDArray[np.intp]:
        """The step in which each token begins, (T,)."""
        return step_ids(self.stats.starts, split_steps(self.sample.text))

    @cached_property
    def filled_steps(self) -> NDArray[np.intp]:
        """The steps in which tokens begin, (K,)."""
        return np.unique(self.step_id)

    def chain(self) -> NDArray[np.float64]:
        """The rows of the chain of embedding, (1 + steps, 2 L + 2)."""
        assert self.sample.chain is not None
        return self.sample.chain.values.astype(np.float64)

    def verdict(self, asked: str) -> NDArray[np.float64]:
        """The numbers that the model asked gave, (parts,)."""
        return np.array(self.sample.verdicts[asked], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Scorer:
    """A score: `values` maps the traces of ONE problem to a float each; higher is better, NaN is undefined."""

    values: Callable[[Sequence[Trace]], Sequence[float]]
    description: str
    source: str
    needs: tuple[str, ...] = (STATISTICS,)
    is_probability: bool = False  # claims to be the chance that the sample is right


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


def _lambda_blend(confidence: Callable[[Trace], NDArray[np.float64]]) -> Callable[[Sequence[Trace]], Sequence[float]]:
    """The blend of a confidence (K,) a step that holds tokens."""
    return _each(lambda t: steps.lambda_blend(confidence(t), tokens.logp(t.stats), t.step_id, t.settings.lambda_weight))


def _reward(trace: Trace) -> float:
    return reward.aggregate(trace.verdict("reward"), trace.settings.reward_steps)


def _answer_margin(trace: Trace) -> float:
    return cot_decoding.answer_margin(tokens.margin(trace.stats), trace.stats.starts, trace.sample.text)


def _uncut(traces: Sequence[Trace]) -> Sequence[float]:
    confidences, indices = [tokens.confidence(t.stats) for t in traces], [t.sample.index for t in traces]
    return online.uncut_weights(confidences, indices, traces[0].settings.window if traces else "auto")


SCORERS: dict[str, Scorer] = {
    "mean-self-certainty": Scorer(_mean(tokens.self_certainty), "mean KL(uniform || p) over the tokens", KANG),
    "neg-entropy": Scorer(_mean(lambda s: -tokens.entropy(s)), "minus the mean entropy", KANG),
    "neg-dp": Scorer(_mean(tokens.neg_distributional_perplexity), "minus the mean of exp(entropy)", KANG),
    "gini": Scorer(_mean(tokens.gini), "mean of the sum of squared probabilities", KANG),
    "logprob": Scorer(_mean(tokens.logp), "mean log-probability of the sampled tokens (ranks as perplexity)", KANG),
    "sum-logprob": Scorer(
        _each(lambda t: sequence.total(tokens.logp(t.stats))), "log-probability of the whole text (favours short ones)", "-"
    ),
    "max-prob": Scorer(_mean(tokens.max_prob), "mean probability of the likeliest token", KANG, is_probability=True),
    "margin": Scorer(
        _mean(tokens.margin), "mean gap between the two likeliest tokens", "after Wang & Zhou 2024, arXiv 2402.10200"
    ),
    "cot-decoding": Scorer(
        _each(_answer_margin),
        "mean gap between the two likeliest tokens, over the tokens inside the last \\boxed{}",
        "Wang & Zhou 2024, arXiv 2402.10200",
    ),
    "deepconf": Scorer(_mean(tokens.confidence), "mean token confidence: minus the mean of the 20 largest log-p", DEEPCONF),
    "deepconf-lowest": Scorer(
        _each(lambda t: sequence.lowest_group(tokens.confidence(t.stats), t.window)), "the least confident window", DEEPCONF
    ),
    "deepconf-online": Scorer(
        _uncut, "the least confident window, of the samples that DeepConf online does not give up", DEEPCONF
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
    "self-certainty": Scorer(
        _lambda_blend(lambda t: steps.step_means(tokens.cross_entropy(t.stats), t.step_id)),
        "mean over steps of C^(1 - lambda) * P^lambda, P the step's probability, C: self-certainty + ln V",
        STEPS,
    ),
    "entropy": Scorer(
        _lambda_blend(lambda t: steps.step_means(tokens.certainty(t.stats), t.step_id)),
        "the same with C: 1 - H / ln V",
        STEPS,
    ),
    "coe-c": Scorer(
        _lambda_blend(lambda t: coe.coe_c(t.chain()[1 + t.filled_steps])),
        "the same with C: CoE-C of the step",
        f"{STEPS}; {COE}",
        (STATISTICS, HIDDEN_STATES),
    ),
    "coe-r": Scorer(
        _each(lambda t: float(coe.coe_r(t.chain()[0]))),
        "CoE-R: relative lengths minus relative angles of the way through the layers",
        COE,
        (HIDDEN_STATES,),
    ),
    "coe-c-whole": Scorer(_each(lambda t: float(coe.coe_c(t.chain()[0]))), "CoE-C of the whole answer", COE, (HIDDEN_STATES,)),
    "self-eval": Scorer(
        _lambda_blend(lambda t: t.verdict("self-eval")[t.filled_steps]),
        "the blend with C: the model's own P(step is correct)",
        f"{STEPS}; {SELF_EVAL}",
        (STATISTICS, "self-eval"),
    ),
    "self-eval-min": Scorer(
        _each(lambda t: float(t.verdict("self-eval").min())),
        "the least P(step is correct)",
        SELF_EVAL,
        ("self-eval",),
        is_probability=True,
    ),
    "p-true": Scorer(
        _each(lambda t: float(t.verdict("p-true")[0])),
        "the model's own P(answer is true)",
        "Kadavath et al. 2022, arXiv 2207.05221",
        ("p-true",),
        is_probability=True,
    ),
    "usc": Scorer(
        _each(lambda t: float(t.verdict("usc")[0])),
        "universal self-consistency: the model reads all answers and names one",
        "Chen et al. 2023, arXiv 2311.17311",
        ("usc",),
    ),
    "judge": Scorer(
        _each(lambda t: float(np.nanmean(t.verdict("judge")))),
        "mean of a judge's scores, 0 to 1",
        "-",
        ("judge",),
        is_probability=True,
    ),
    "reward": Scorer(_each(_reward), "the reward of a reward model", "-", ("reward",)),
}

FREE = tuple(name for name, scorer in SCORERS.items() if set(scorer.needs) == {STATISTICS})
"""The scorers that cost nothing once a sample has its token statistics."""


def score_pool(
    pool: Pool, names: Iterable[str] = FREE, settings: ScoreSettings | None = None
) -> tuple[dict[str, tuple[float | None, ...]], list[Score]]:
    """Score every sample of one problem by each named scorer.

    Returns:
        `Pool.scores` (scorer -> a value a sample, None where there is none), and the same as records with reasons: those of
        `missing_reason`, and "undefined" (NaN or infinite).

    Raises:
        KeyError: a name that is not in `SCORERS`.
    """
    settings = settings or ScoreSettings()
    lengths = [len(sample.stats) for sample in pool.samples if sample.stats is not None and len(sample.stats)]
    window = sequence.deepconf_window(lengths, settings.window)
    traces = [Trace(sample, window, settings) for sample in pool.samples]  # steps are found once for all scorers
    table: dict[str, tuple[float | None, ...]] = {}
    records: list[Score] = []
    for name in names:
        missing = [missing_reason(sample, name) for sample in pool.samples]
        scored = [trace for trace, reason in zip(traces, missing, strict=True) if reason is None]
        values = iter(SCORERS[name].values(scored))
        row: list[float | None] = []
        for sample, reason in zip(pool.samples, missing, strict=True):
            value = None if reason else float(next(values))
            if value is not None and not math.isfinite(value):
                value, reason = None, "undefined"
            row.append(value)
            records.append(Score(sample.key, name, value, reason))
        table[name] = tuple(row)
    return table, records


def with_scores(pool: Pool, names: Iterable[str] = FREE, settings: ScoreSettings | None = None) -> Pool:
    """The pool with the named scores added to those it has."""
    return replace(pool, scores={**pool.scores, **score_pool(pool, names, settings)[0]})


def why_unscored(sample: Sample, scorer: str) -> Unscored:
    """Why a sample has no value of a scorer: what `missing_reason` says, else "undefined" (NaN or infinite)."""
    return missing_reason(sample, scorer) or "undefined"


def missing_reason(sample: Sample, scorer: str) -> Unscored | None:
    """Why a scorer cannot score a sample; None: it can, though the value may still be undefined.

    "engine_error" (the sample failed), "empty" (it says nothing: the formulas say -inf, which selection makes of None again),
    "no_statistics", "no_hidden_states", "not_asked" (no model was asked for its verdict), "judge_failed" (it gave none).
    """
    if sample.error:
        return "engine_error"
    needs = SCORERS[scorer].needs
    num_tokens = len(sample.stats) if sample.stats is not None else None
    if num_tokens == 0 or (not sample.text and (num_tokens is None or needs != (STATISTICS,))):
        return "empty"
    if STATISTICS in needs and num_tokens is None:
        return "no_statistics"
    if HIDDEN_STATES in needs and sample.chain is None:
        return "no_hidden_states"
    for asked in set(needs) - {STATISTICS, HIDDEN_STATES}:
        if asked not in sample.verdicts:
            return "not_asked"
        if all(math.isnan(value) for value in sample.verdicts[asked]):
            return "judge_failed"
    return None
