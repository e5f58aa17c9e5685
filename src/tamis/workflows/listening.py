"""From what a model writes about samples to verdicts: the judge, and universal self-consistency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tamis.records import Message, Pool, Problem, Prompt, Sampling, Verdict
from tamis.sample import pools
from tamis.score.judge import judge_problems, judge_verdict, replies_owed
from tamis.score.usc import usc_problem, usc_verdicts
from tamis.store import RunFolder, VerdictFolder, verdict_keys


def plainly(problem: Problem) -> Prompt:
    """The prompt of a problem that is itself all that is to be asked."""
    return Prompt((Message("user", problem.prompt),))


class Listener:
    """Which replies are owed about a pool's samples, and what those that are there say."""

    def __init__(self, asked: str, template: str, sampling: Sampling, folder: VerdictFolder, replies: RunFolder) -> None:
        """Of `judge` or `usc`.

        Args:
            asked: Which of the two.
            template: What it is asked.
            sampling: How replies are drawn, and how many judgements a sample (`n`).
            folder: Where the verdicts go.
            replies: Where the replies are.
        """
        self.asked, self.replies = asked, replies
        self._template, self._sampling, self._folder = template, sampling, folder

    def owed(self, pool: Pool) -> list[Problem]:
        """What is still to be asked."""
        missing = self._missing(pool)
        return [problem for problem in self._problems(pool) if self.asked == "usc" or problem.id in missing] if missing else []

    def settle(self, pool: Pool) -> None:
        """Keep the verdicts that the replies hold by now."""
        if missing := self._missing(pool):
            for verdict in self._verdicts(pool):
                if verdict.key in missing:
                    self._folder.append(replace(verdict, key=missing[verdict.key]))

    def _missing(self, pool: Pool) -> dict[str, str]:
        """Of each sample that says something and has no verdict yet: its key -> the key of its verdict."""
        keys = zip(pool.samples, verdict_keys(self.asked, pool), strict=True)
        return {s.key: key for s, key in keys if not s.error and s.text and len(self._folder.get(key) or ()) < self._sampling.n}

    def _problems(self, pool: Pool) -> list[Problem]:
        if self.asked == "judge":
            return judge_problems(pool, self._template)
        problem = usc_problem(pool, self._template)
        return [problem] if problem else []

    def _verdicts(self, pool: Pool) -> Iterator[Verdict]:
        problems = self._problems(pool)
        if self.asked == "usc":
            texts = self._texts(problems[0]) if problems else [""]  # one sample alone needs no reply
            yield from usc_verdicts(pool, texts[0]) if texts else ()
            return
        for problem in problems:
            texts = self._texts(problem)
            if not replies_owed(texts, self._sampling.n):
                yield judge_verdict(problem.id, texts, self._sampling.n)

    def _texts(self, problem: Problem) -> list[str]:
        """The replies about a problem, in order of index; one that was cut off says nothing: its last words are no verdict."""
        sampling = replace(self._sampling, n=2 * self._sampling.n)
        found = next(pools([problem], self.replies, sampling, prompt=plainly))
        return ["" if reply.truncated else reply.text for reply in found.samples if not reply.error]
