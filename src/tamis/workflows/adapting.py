"""How many samples each problem needs: a stopping rule over the answers so far, asked by the sampling loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tamis.config import AdaptiveSampling, ScoreSettings
from tamis.errors import UsageError
from tamis.grade import Grader, answer_of
from tamis.records import Pool, Sample, Watch
from tamis.sample import Round
from tamis.score import score_pool, tokens
from tamis.score.online import WARM_UP, watch_after
from tamis.select.methods import score_array
from tamis.select.stopping import RULES, Consensus, EarlyStopping, StoppingRule


def stopping_rule(settings: AdaptiveSampling) -> StoppingRule:
    """The rule of that name.

    Raises:
        UsageError: There is none, or the threshold is none.
    """
    if settings.rule not in RULES:
        raise UsageError(f"there is no rule {settings.rule!r} for adaptive sampling", f"Rules: {', '.join(RULES)}")
    if not 0.5 < settings.threshold < 1:
        raise UsageError(f"--adaptive-threshold is {settings.threshold:g}", "It must lie between 0.5 and 1")
    return RULES[settings.rule]() if RULES[settings.rule] is EarlyStopping else RULES[settings.rule](settings.threshold)


def adaptive_identity(settings: AdaptiveSampling) -> dict[str, Any]:
    """What of adaptive sampling shapes the samples themselves: where they may be given up."""
    return {"adaptive": settings.rule, "window": settings.window} if settings.rule == "deepconf-online" else {}


class Adapting:
    """Tells the loop how many more samples a problem needs (`sample.Adaptive`)."""

    def __init__(self, settings: AdaptiveSampling, budget: int, grader: Grader) -> None:
        self._rule = stopping_rule(settings)
        self._settings = ScoreSettings(window=settings.window)
        self._budget = budget
        self._grader = grader
        self.num_certain = self._rule.further(np.empty(0, np.intp), np.empty(0), budget)  # samples every problem needs

    async def __call__(self, pool: Pool) -> Round:
        """The next round; by the same answers and the same equality as grades and votes."""
        clusters = np.array(await self._grader.cluster([answer_of(sample) for sample in pool.samples]), dtype=np.intp)
        if not isinstance(self._rule, Consensus):
            return Round(self._rule.further(clusters, np.ones(len(clusters)), self._budget))
        scores, _ = score_pool(pool, ["deepconf-online"], self._settings)
        weights = score_array(scores, "deepconf-online", list(range(len(clusters))))
        return Round(self._rule.further(clusters, weights, self._budget), self._watch(pool.samples))

    def _watch(self, samples: tuple[Sample, ...]) -> Watch | None:
        if len(samples) < WARM_UP:
            return None
        known = (sample.stats for sample in samples[:WARM_UP] if sample.stats is not None and len(sample.stats))
        return watch_after([tokens.confidence(stats) for stats in known], self._settings.window)


@dataclass(slots=True)
class Spent:
    """What adaptive sampling has taken, against drawing the whole budget for every problem."""

    num_samples: int = 0
    num_tokens: int = 0
    budget_samples: int = 0
    budget_tokens: float = 0.0  # were the samples that were not drawn as long as those of the same problem
    needed: dict[str, int] = field(default_factory=dict)  # by the key of a problem's first sample: how many it needed

    def count(self, pool: Pool, budget: int) -> None:
        """Take in a finished problem."""
        num_samples, num_tokens = len(pool.samples), sum(sample.completion_tokens for sample in pool.samples)
        if not num_samples:
            return
        self.num_samples += num_samples
        self.num_tokens += num_tokens
        self.budget_samples += budget
        self.budget_tokens += num_tokens / num_samples * budget
        self.needed[pool.samples[0].key] = num_samples
