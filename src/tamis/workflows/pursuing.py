"""One image on its way: rounds of candidates, each drawn, then judged, until there are enough."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.config import Rejecting
from tamis.records import Problem, Sample
from tamis.sample.desk import Desk
from tamis.score.grading import Candidate, Judgement, Rejected, rejected, score_of
from tamis.workflows.candidates import Candidates, Wanted
from tamis.workflows.judging import Judge


@dataclass(frozen=True, slots=True)
class ImageWanted:
    """An image and the candidates that it shall have."""

    problem: Problem
    marks: tuple[str, ...]  # of its content
    wanted: list[Wanted]


class Pursuit:
    """Sees to it that what an image needs is in the journals, and reads it from there."""

    def __init__(self, config: Rejecting, candidates: Candidates, judge: Judge) -> None:
        self._config, self._candidates, self._judge = config, candidates, judge
        self._can_end_early = config.stop_early and not config.rejudge  # what is there is judged to the last

    async def pursue(self, image: ImageWanted, drawing: Desk, judging: Desk) -> Rejected:
        """See to it that all that the image needs is in the journals."""
        for wanted in self._rounds(image):
            await _together(self._settle(image, group, drawing, judging) for group in self._groups(wanted))
            if self._can_end_early and self._ends_early(self._read(image, wanted)):
                break
        return self.recall(image)

    async def _settle(self, image: ImageWanted, group: Sequence[Wanted], drawing: Desk, judging: Desk) -> None:
        """Candidates that are judged together: drawn, then judged."""
        await _together(self._candidates.draw(wanted, drawing) for wanted in group)
        if said := self._said(group):
            await self._judge.hear(judging, image.problem, image.marks, list(said.values()))

    def recall(self, image: ImageWanted) -> Rejected:
        """What the journals say of the image."""
        found: list[Candidate] = []
        for wanted in self._rounds(image):
            new = self._read(image, wanted)
            found += new
            if self._can_end_early and self._ends_early(new):
                break
        return rejected(image.problem, found, self._config.threshold)

    def _rounds(self, image: ImageWanted) -> list[list[Wanted]]:
        """What is drawn at the same time."""
        return [[wanted] for wanted in image.wanted] if self._config.stop_early else [image.wanted]

    def _groups(self, wanted: list[Wanted]) -> list[list[Wanted]]:
        """What is judged together."""
        return [wanted] if self._judge.is_all else [[one] for one in wanted]

    def _ends_early(self, new: Sequence[Candidate]) -> bool:
        """Whether a round was the last."""
        return not new or any(score is not None and score >= self._config.threshold for score in map(score_of, new))

    def _said(self, group: Sequence[Wanted]) -> dict[str, Sample]:
        """What can be judged, by key."""
        samples = {wanted.key: self._candidates.load(wanted) for wanted in group}
        return {key: sample for key, sample in samples.items() if sample and not sample.error and sample.text}

    def _read(self, image: ImageWanted, wanted: list[Wanted]) -> list[Candidate]:
        """The candidates of a round that are in the folder, with their judgements."""
        return [candidate for group in self._groups(wanted) for candidate in self._read_group(image, group)]

    def _read_group(self, image: ImageWanted, group: list[Wanted]) -> Iterator[Candidate]:
        said = self._said(group)
        judged = dict(zip(said, self._judge.judged(image.problem, image.marks, list(said.values())), strict=True))
        for wanted in group:
            if not (sample := said.get(wanted.key) or self._candidates.load(wanted)):
                continue
            about = (wanted.arm, self._config.prompts[wanted.arm.prompt_key], sample)
            if one := judged.get(wanted.key):
                yield Candidate(*about, one.judgement, one.seconds, one.tokens, one.num_sharing)
            else:
                yield Candidate(*about, None if sample.error else Judgement(None, "empty", "it says nothing"))


async def _together(coroutines: Iterator[Coroutine[Any, Any, None]]) -> None:
    """Run all at the same time; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for coroutine in coroutines:
                tasks.create_task(coroutine)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
