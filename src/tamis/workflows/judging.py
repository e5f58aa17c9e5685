"""The judge of a rejection run: what it was asked, what it said, and what it is still to be asked.

<run folder>/scores/judge/   run.json, verdicts.jsonl: a score a candidate, as `tamis score` keeps them
    replies/             a run folder: what the judge wrote; all judgements are read from here
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tamis.config import Rejecting
from tamis.errors import EngineError, RunFolderError
from tamis.identity import sample_keys, sample_seed, text_key
from tamis.records import Draw, Problem, Prompt, Request, Sample, Sampling, Verdict
from tamis.sample import LazyEngine, Progress
from tamis.sample.desk import Desk
from tamis.score.grading import Judgement, complaint, grading_prompt, judgements, judges_all
from tamis.store import RunFolder, VerdictFolder, find_asked
from tamis.workflows.models import model_identity

_NUM_ATTEMPTS = 2  # a reply without a score is told why, once
_FLAGS = {
    "--base-url": "--grading-api",
    "--api-key": "--grading-key",
    "--model": "--grading-model",
    "_API_KEY": "_API_KEY_JUDGE",
}


class Judged(NamedTuple):
    """What was said of a candidate, and what it took: seconds of all calls, and its share of their tokens, read and written."""

    judgement: Judgement
    seconds: float
    tokens: tuple[int, int]
    num_sharing: int


class Judge:
    """Asks about groups of candidates: of one each, or all of an image where the template judges them together.

    A group is the samples of an image that say something; `marks` name the contents of its pictures.
    """

    def __init__(self, config: Rejecting, home: Path, engine: LazyEngine, progress: Progress) -> None:
        """Open its folders below `home`.

        Raises:
            UsageError: A template without a place for candidates.
            RunFolderError: Another judge was asked, and nobody is to be asked again.
        """
        self.is_all = judges_all(config.grading_template)
        self._template, self._again, self._progress = config.grading_template, config.retry_failed, progress
        self._sampling = Sampling(config.judge_temperature, max_tokens=config.judge_max_tokens, seed=config.seed)
        identity = {**model_identity(config.judge), "template": config.grading_template, **self._sampling.to_json()}
        fork = config.fork or config.rejudge
        try:
            known = find_asked(home, identity, fork=fork)
        except RunFolderError as error:
            raise RunFolderError(error.message, "Add --rejudge to judge what is there anew and keep both") from None
        if known is None:
            engine.open()  # a judge that does not load leaves no folder behind
        with ExitStack() as stack:
            self._verdicts = stack.enter_context(VerdictFolder.open(known or home, identity, fork=fork))
            self._replies = stack.enter_context(RunFolder.open(self._verdicts.path / "replies", identity, token_stats="none"))
            self._stack = stack.pop_all()

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self._verdicts.path

    @property
    def warnings(self) -> list[str]:
        """What of its replies cannot be read any more, and is owed again."""
        return self._replies.warnings

    async def hear(self, desk: Desk, problem: Problem, marks: tuple[str, ...], group: Sequence[Sample]) -> None:
        """Ask about a group until each of it has a score, or it was asked often enough; keep what is said.

        Raises:
            EngineError: The judge broke as a whole.
        """
        replies = [reply for reply in self._heard(problem, marks, group) if not reply.error]
        most = max(_NUM_ATTEMPTS, len(replies) + _NUM_ATTEMPTS if self._again else 0)
        while complaint(replies, len(group), is_all=self.is_all) and len(replies) < most:
            prompt, key = self._asked(problem, marks, group, replies)
            about = self._about(problem, group)
            draw = Draw(key, len(replies), sample_seed(self._sampling.seed, about, len(replies)))
            try:
                reply = await desk.draw(Request(about, prompt, self._sampling, (draw,)))
            except EngineError as error:
                raise EngineError(f"the judge: {error.message}", _for_judge(error.advice)) from None
            self._replies.append(reply)
            self._progress.count(reply)
            if reply.error:
                return
            replies.append(reply)
        for sample, said in zip(group, judgements(replies, len(group), is_all=self.is_all), strict=True):
            self._keep(text_key(sample), math.nan if said.score is None else said.score / 100.0)

    def judged(self, problem: Problem, marks: tuple[str, ...], group: Sequence[Sample]) -> list[Judged]:
        """What its replies come to, for each of a group."""
        replies = self._heard(problem, marks, group)
        found = judgements(replies, len(group), is_all=self.is_all)
        seconds = sum(reply.seconds for reply in replies)
        read = _shares(sum(reply.prompt_tokens for reply in replies), len(group))
        written = _shares(sum(reply.completion_tokens for reply in replies), len(group))
        tokens = zip(read, written, strict=True)
        return [Judged(said, seconds, share, len(group)) for said, share in zip(found, tokens, strict=True)]

    def close(self) -> None:
        """Release its folders. Idempotent."""
        self._stack.close()

    def _heard(self, problem: Problem, marks: tuple[str, ...], group: Sequence[Sample]) -> list[Sample]:
        """What it said about a group so far, in order; a failure comes last."""
        found: list[Sample] = []
        while complaint(found, len(group), is_all=self.is_all):
            reply = self._replies.load(self._asked(problem, marks, group, found)[1])
            if reply is None:
                break
            found.append(reply)
            if reply.error:
                break
        return found

    def _asked(
        self, problem: Problem, marks: tuple[str, ...], group: Sequence[Sample], replies: Sequence[Sample]
    ) -> tuple[Prompt, str]:
        """What is asked next, and the key of the reply."""
        prompt = grading_prompt(self._template, [sample.text for sample in group], problem.images, replies)
        about = self._about(problem, group)
        (key,) = sample_keys(about, replace(prompt, images=marks), self._sampling, [len(replies)])
        return prompt, key

    def _about(self, problem: Problem, group: Sequence[Sample]) -> str:
        return group[0].key if len(group) == 1 else problem.id

    def _keep(self, key: str, value: float) -> None:
        known = self._verdicts.get(key)
        if known is None or (known[0] != value and not (math.isnan(known[0]) and math.isnan(value))):
            self._verdicts.append(Verdict(key, (value,)))


def _for_judge(advice: str) -> str:
    """Advice that names the judge's options."""
    for name, of_judge in _FLAGS.items():
        advice = advice.replace(name, of_judge)
    return advice


def _shares(total: int, num: int) -> list[int]:
    """A whole number shared out among `num`, as evenly as may be."""
    return [total // num + (place < total % num) for place in range(num)]
