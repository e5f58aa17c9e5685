"""A bandit over a grid: learns from few images which arms score best.

Thompson sampling (Thompson 1933; linear: Agrawal and Goyal 2013, arXiv 1209.3352). The score of a candidate is the sum of
effects of its prompt, its temperature, its top_p and its top_k, a smaller one of just this combination, one that all
candidates of the image share, and noise; all are Gaussian. The effects of single settings are learnt from every candidate that
has the setting, so that a grid of 240 arms is known after some dozens of images; the effect of the combination corrects them
where there is enough to say so. That of the image is integrated out: hard images say nothing against the arms they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tamis.config import Arm

_LEVEL, _MEAN_SD = 50.0, 100.0  # what is believed of the mean score before anything is known
_SETTING_SD, _COMBINATION_SD = 15.0, 5.0  # of effects
_IMAGE_SD, _NOISE_SD = 25.0, 20.0
_MAX_COMBINATIONS = 512  # above that, only single settings are learnt: the work grows with the cube
_SETTINGS: tuple[Callable[[Arm], object], ...] = (
    lambda arm: arm.prompt_key,
    lambda arm: arm.temperature,
    lambda arm: arm.top_p,
    lambda arm: arm.top_k,
)


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one arm: its mean score over images, and the standard deviation of that belief."""

    arm: Arm
    score: float
    deviation: float


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    mean: NDArray[np.float64]  # (D,)
    root: NDArray[np.float64]  # (D, D): root @ root.T is the covariance


class Bandit:
    """The belief about D effects, kept as a precision (D, D) and a precision-weighted mean (D,)."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._arms = arms
        self._place = {arm: place for place, arm in enumerate(arms)}
        self._effects, deviations = _design(arms)  # (A, D), (D,)
        self._precision = np.diag(deviations**-2.0)
        self._weighted = np.zeros(len(deviations))
        self._weighted[0] = _LEVEL * deviations[0] ** -2.0

    def learn(self, scores: Sequence[tuple[Arm, float]]) -> None:
        """Take in the graded candidates of one image."""
        num = len(scores)
        if not num:
            return
        effects = self._effects[[self._place[arm] for arm, _ in scores]]  # (N, D)
        values = np.array([score for _, score in scores])
        shared = _IMAGE_SD**2 / (_NOISE_SD**2 + num * _IMAGE_SD**2)
        weights = (np.eye(num) - shared) / _NOISE_SD**2  # the inverse of noise on the diagonal plus the image's everywhere
        self._precision += effects.T @ weights @ effects
        self._weighted += effects.T @ weights @ values
        self.__dict__.pop("_posterior", None)

    def pick(self, num: int, seed: int) -> list[Arm]:
        """The best arms of `num` worlds drawn from the belief: the surer it is, the more they agree."""
        now = self._posterior
        worlds = now.mean[:, None] + now.root @ np.random.default_rng(seed).standard_normal((len(now.mean), num))
        return [self._arms[place] for place in (self._effects @ worlds).argmax(0)]

    def beliefs(self) -> list[Belief]:
        """What is believed of each arm, the best first."""
        now = self._posterior
        scores = self._effects @ now.mean
        deviations = np.sqrt(((self._effects @ now.root) ** 2).sum(1))
        found = [Belief(arm, float(scores[i]), float(deviations[i])) for i, arm in enumerate(self._arms)]
        return sorted(found, key=lambda belief: -belief.score)

    @cached_property
    def _posterior(self) -> _Posterior:
        upper = np.linalg.inv(np.linalg.cholesky(self._precision)).T
        return _Posterior(upper @ (upper.T @ self._weighted), upper)


def _design(arms: Sequence[Arm]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which effects each arm has (A, D), and how large each may be (D,)."""
    columns, deviations = [np.ones((len(arms), 1))], [_MEAN_SD]
    for setting in _SETTINGS:
        levels = list(dict.fromkeys(map(setting, arms)))
        if len(levels) > 1:
            columns.append(np.eye(len(levels))[[levels.index(setting(arm)) for arm in arms]])
            deviations += [_SETTING_SD] * len(levels)
    if len(columns) > 2 and len(arms) <= _MAX_COMBINATIONS:
        columns.append(np.eye(len(arms)))
        deviations += [_COMBINATION_SD] * len(arms)
    return np.concatenate(columns, axis=1), np.array(deviations)
