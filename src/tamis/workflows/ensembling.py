"""Several models, one vote: the samples of their run folders as one pool a problem, and what the majority says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tamis.config import Drawing
from tamis.grade import Grader
from tamis.records import Pool
from tamis.sample import pools
from tamis.select import choose
from tamis.store import RowFile, RunFolder
from tamis.workflows.drawing import read
from tamis.workflows.evaluating import Evaluation, Tally, about
from tamis.workflows.examining import examine
from tamis.workflows.solving import VOTE


@dataclass(frozen=True, slots=True)
class Member:
    """A model that has been evaluated."""

    name: str
    drawing: Drawing
    run: Path
    evaluation: Evaluation


async def vote(members: Sequence[Member], rows_path: Path) -> Evaluation:
    """Let all samples of all members vote on each problem; of equal counts, the answer of the member named first wins.

    `is_correct` of a row is that of the vote, `model_response` the first response that says so; a problem counts in the
    accuracy where some member has drawn an answer and there is a reference.
    """
    first = members[0].drawing
    tally = Tally(first.prompt)
    with ExitStack() as stack:
        folders = [stack.enter_context(RunFolder.read(member.run, token_stats="none")) for member in members]
        rows = stack.enter_context(RowFile(rows_path))
        async with Grader() as grader:
            for problem in read(first, []):
                await asyncio.sleep(0)
                drawn = [
                    next(pools([problem], folder, member.drawing.sampling, prompt=member.drawing.prompt))
                    for folder, member in zip(folders, members, strict=True)
                ]
                whole = [sample for pool in drawn for sample in pool.samples]
                whole = [replace(sample, index=i) for i, sample in enumerate(whole)]
                judged = await examine(Pool(problem, tuple(whole)), grader)
                rows.write(_row(tally, judged, [len(pool.samples) for pool in drawn], members))
    seconds = sum(member.evaluation.facts["eval_time"] for member in members)
    facts = {
        **tally.to_json(seconds, None),
        "models": [{"model": member.name, **_accuracy_of(member), "run": str(member.run)} for member in members],
        **{**about(first), "model": [member.name for member in members]},
        "bad_rows": members[0].evaluation.facts["bad_rows"],
    }
    return Evaluation(facts, rows_path, all(member.evaluation.is_complete for member in members))


def _row(tally: Tally, judged: Pool, counts: Sequence[int], members: Sequence[Member]) -> dict[str, Any]:
    """The row of the sample that the vote takes, and what each member's first sample says."""
    choice = choose(judged, VOTE)
    alive = [i for i, sample in enumerate(judged.samples) if not sample.error]
    taken = choice.index if choice.index is not None else next(iter(alive), 0)
    one = slice(taken, taken + 1)
    chosen = replace(judged, samples=judged.samples[one], grades=judged.grades[one], clusters=judged.clusters[one])
    row = tally.row(chosen, None)
    row["votes"] = dict(choice.votes)
    said, start = {}, 0
    for member, count in zip(members, counts, strict=True):
        grade = judged.grades[start] if count else None
        said[member.name] = {"answer": grade.answer if grade else None, "is_correct": grade.correct if grade else None}
        start += count
    return {**row, "models": said}


def _accuracy_of(member: Member) -> dict[str, Any]:
    names = ("accuracy", "correct", "total", "interval", "extraction_failures", "errors", "truncated", "eval_time")
    facts = member.evaluation.facts
    return {name: facts[name] for name in (*names, "vote", "metric") if name in facts}
