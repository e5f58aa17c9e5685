"""The samples of a run folder as rows of graded generations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from tamis.grade import Grader
from tamis.grade.normalise import canonical
from tamis.records import Pool
from tamis.sources import BadRow
from tamis.summarise.partial import Partial
from tamis.summarise.tally import Tally
from tamis.workflows.earlier import Earlier
from tamis.workflows.examining import examine, paced


def count_run(path: Path) -> tuple[Partial, list[BadRow]]:
    """Grade the samples of a run; their tokens were counted while they were drawn. And those that take no part."""
    return asyncio.run(_count(path))


async def _count(path: Path) -> tuple[Partial, list[BadRow]]:
    earlier, tally = Earlier(path), Tally((0, 0))
    bad_rows: list[BadRow] = []
    async with Grader() as grader:
        async for pool in paced(earlier.drawn()):
            bad_rows += _add_pool(tally, await examine(pool, grader))
    return tally.partial(), [*earlier.bad_rows, *bad_rows]


def _add_pool(tally: Tally, pool: Pool) -> Iterator[BadRow]:
    problem = pool.problem
    prompt = problem.prompt or "\n".join(message.content for message in problem.messages)
    leaders: dict[int, str] = {}
    for sample, grade, cluster in zip(pool.samples, pool.grades, pool.clusters, strict=True):
        where = f"{problem.where or problem.id}, sample {sample.index}"
        if sample.error:
            yield BadRow(where, "", f"failed ({sample.error.message})")
        elif grade.correct is None:
            yield BadRow(where, "accuracy", f"is not graded ({grade.reason})")
        elif sample.text and not sample.completion_tokens:
            yield BadRow(where, "completion_tokens", "is not known")
        else:
            answer = None if grade.answer is None else leaders.setdefault(cluster, canonical(grade.answer))
            tally.add(
                prompt,
                problem.answer,
                float(grade.correct),
                sample.completion_tokens,
                [sample.text],
                truncated=sample.truncated,
                answer=answer,
            )
