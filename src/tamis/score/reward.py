"""What a reward model is shown, and how its rewards of the steps become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.prompts import problem_text
from tamis.records import Pool, Question
from tamis.score.steps import AGGREGATIONS
from tamis.steps import split_steps

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray


def reward_questions(pool: Pool) -> list[Question]:
    """What a reward model is shown: the problem, then each sample that says something, step by step.

    The reward after the last step is that of the whole text.
    """
    lead = problem_text(pool.problem)
    said = (sample for sample in pool.samples if sample.text and not sample.error)
    return [
        Question(sample.key, lead, tuple(sample.text[start:end] for start, end in split_steps(sample.text)), "", ("", ""))
        for sample in said
    ]


def aggregate(rewards: NDArray[np.float64], how: Literal["last", "min", "prod", "mean"]) -> float:
    """The rewards after each step (K,), K >= 1, to one.

    Rewards are log-odds without bounds. `prod` takes each as a probability, through the sigmoid, and gives the log-odds of
    their product, so that all four are on one scale; the others take the rewards as they are.
    """
    if how != "prod":
        return AGGREGATIONS[how](rewards)
    log_product = -np.logaddexp(0.0, -rewards).sum()
    with np.errstate(divide="ignore"):  # all rewards beyond what a probability can tell from 1: infinite, which is undefined
        return float(log_product - np.log(-np.expm1(log_product)))


def as_probability(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sigmoid of rewards; minus infinity, which is none, stays."""
    return np.where(np.isfinite(rewards), 0.5 * (1.0 + np.tanh(rewards / 2.0)), -np.inf)
