"""A problem on its way, and the rounds in which its samples are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tamis.identity import sample_seed
from tamis.records import Draw, Failure, Pool, Problem, Prompt, Request, Sample, Sampling, Watch

if TYPE_CHECKING:
    from tamis.store import RunFolder


@dataclass(frozen=True, slots=True)
class Round:
    """The samples to be drawn next, after those that are there."""

    num_samples: int  # 0: no more are needed
    watch: Watch | None = None  # when to give one of them up


Adaptive = Callable[[Pool], Awaitable[Round]]
"""Told the first samples of a problem, 0 to n - 1, none at first and the failed included: how many more it needs.

It must depend on them alone. Then what is drawn is the same whatever the order in which samples come, and after any resume.
"""


@dataclass(slots=True, eq=False)
class Pending:
    """A problem, the samples asked for, which are always the first, and those of them that are in."""

    problem: Problem
    prompt: Prompt
    sampling: Sampling
    keys: list[str]  # by sample index
    samples: dict[str, Sample] = field(default_factory=dict)  # by key
    num_asked: int = 0
    num_loaded: int = 0  # of those that are in: found in the folder
    is_finished: bool = False  # no more are needed

    async def advance(self, run: RunFolder, adaptive: Adaptive | None, *, again: bool = True) -> Request | None:
        """Ask for more when all that was asked for is in, taking what the folder has; None: no more are needed.

        Owed is what the folder has not, cannot read, or, if it shall be drawn `again`, has as a failure.
        """
        while self.num_asked < len(self.keys):
            more = await adaptive(self.pool()) if adaptive else Round(len(self.keys))
            if more.num_samples < 1:
                break
            first, self.num_asked = self.num_asked, min(len(self.keys), self.num_asked + more.num_samples)
            for key in self.keys[first : self.num_asked]:
                if (key in run or not again) and (old := run.load(key)):
                    self.samples[key] = old
                    self.num_loaded += 1
            owed = (index for index in range(first, self.num_asked) if self.keys[index] not in self.samples)
            if draws := tuple(map(self._draw, owed)):
                return Request(self.problem.id, self.prompt, self.sampling, draws, more.watch)
        return None

    @property
    def has_all(self) -> bool:
        """Whether all samples asked for are in."""
        return len(self.samples) == self.num_asked

    def _draw(self, index: int) -> Draw:
        return Draw(self.keys[index], index, sample_seed(self.sampling.seed, self.problem.id, index))

    def never_drawn(self, key: str) -> Sample:
        """The record of a draw that the engine has not given."""
        draw, failure = self._draw(self.keys.index(key)), Failure("engine", "the engine ended without this sample")
        return Sample(key, self.problem.id, draw.index, draw.seed, self.sampling, finish_reason="error", error=failure)

    def pool(self) -> Pool:
        """The problem with its samples that are in, in order of index."""
        return Pool(self.problem, tuple(self.samples[key] for key in self.keys[: self.num_asked] if key in self.samples))
