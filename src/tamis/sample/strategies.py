"""Which arms of a grid are tried on an image: random, grid, adaptive.

What an image is given depends on the seed, its id and the grid, and with `adaptive` on the scores of images so far before it
that they are known in time whatever the concurrency. So it does not depend on the order in which answers come.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tamis.config import Arm
from tamis.identity import lot

if TYPE_CHECKING:
    from tamis.config import Strategy
    from tamis.sample.bandit import Bandit

_GOLDEN = (5**0.5 - 1) / 2
_FIRST_LAG, _MOST_LAG = 4, 32  # images
_LONGEST_BELIEF = 64  # images for which a belief is used at most


@dataclass(frozen=True, slots=True)
class Turn:
    """A candidate to be drawn: an arm, and the how-manieth draw of this arm for the image, from 0."""

    arm: Arm
    index: int


Scores = Sequence[tuple[Arm, float]]
"""What the graded candidates of one image came to, 0 to 100."""


class Planner:
    """Plans one image after another, in their order.

    Attributes:
        bandit: What `adaptive` has learnt so far; None with the other strategies.
    """

    def __init__(self, strategy: Strategy, arms: Sequence[Arm], num_candidates: int, seed: int) -> None:
        """Prepare.

        Args:
            strategy: `random`: arms drawn by lot, none twice before all were drawn. `grid`: a walk through the grid in steps
                of the golden section, so that a few arms are spread over it, from a place that is drawn by lot, so that over
                many images all arms are tried equally often; as many candidates as there are arms try each once. `adaptive`:
                the arms that scored best so far, see `bandit`.
            arms: The grid.
            num_candidates: An image.
            seed: Of all lots.
        """
        arms = tuple(dict.fromkeys(arms))
        self.bandit: Bandit | None = None
        if strategy == "adaptive":
            from tamis.sample.bandit import Bandit

            self.bandit = Bandit(arms)
        self._strategy, self._arms, self._num, self._seed = strategy, arms, num_candidates, seed
        self._lots = np.array(list(map(_arm_lot, arms)), dtype=np.uint64)
        self._num_planned = self._num_learnt = 0
        self._seen: deque[Scores] = deque()  # and not learnt yet

    @property
    def max_ahead(self) -> int | None:
        """At most so many images before the next one may be unknown when it is planned; None: all."""
        return None if self.bandit is None else min(_MOST_LAG, _FIRST_LAG + self._num_planned // 4)

    def plan(self, image_id: str) -> list[Turn]:
        """The candidates of the next image, in order."""
        if self.bandit is not None and self.max_ahead is not None:
            num_due = self._num_planned - self.max_ahead
            num_due -= num_due % max(1, min(_LONGEST_BELIEF, num_due // 16))  # a new belief takes a while to compute
            self._learn(num_due - self._num_learnt)
        self._num_planned += 1
        if self._strategy == "random":
            return self._by_lot(image_id)
        arms = self.bandit.pick(self._num, lot(self._seed, image_id)) if self.bandit else self._walk(image_id)
        num_drawn: Counter[Arm] = Counter()
        turns = []
        for arm in arms:
            turns.append(Turn(arm, num_drawn[arm]))
            num_drawn[arm] += 1
        return turns

    def see(self, scores: Scores) -> None:
        """Take in what the next image in order came to."""
        if self.bandit is not None:
            self._seen.append(scores)

    def learn_all(self) -> None:
        """Learn all that was seen, when no image is left."""
        self._learn(len(self._seen))

    def _learn(self, num: int) -> None:
        for _ in range(num):
            assert self.bandit is not None
            self.bandit.learn(self._seen.popleft())
            self._num_learnt += 1

    def _by_lot(self, image_id: str) -> list[Turn]:
        """An arm's lot is its own: where the grid grows, the arms that were drawn before mostly still are."""
        turns: list[Turn] = []
        for index in range(-(-self._num // len(self._arms))):
            lots = _mixed(self._lots ^ np.uint64(lot(self._seed, image_id, index)))
            turns += [Turn(self._arms[place], index) for place in lots.argsort(kind="stable")[: self._num - len(turns)]]
        return turns

    def _walk(self, image_id: str) -> list[Arm]:
        size = len(self._arms)
        step = next(step for step in range(max(1, round(size * _GOLDEN)), 2 * size) if gcd(step, size) == 1)
        start = lot(self._seed, image_id) % size
        return [self._arms[(start + place * step) % size] for place in range(self._num)]


def _arm_lot(arm: Arm) -> int:
    return lot(arm.prompt_key, float(arm.temperature), float(arm.top_p), arm.top_k)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(A,) numbers in disorder: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
