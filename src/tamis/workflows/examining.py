"""A pool of samples, graded, clustered and scored: the second half of every workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from tamis.grade import Grader
from tamis.records import Pool
from tamis.score import ScoreSettings, with_scores


async def examine(pool: Pool, grader: Grader, scorers: Iterable[str] = (), settings: ScoreSettings | None = None) -> Pool:
    """The same pool with its answers judged against the reference, put into classes of equals, and scored."""
    grades = tuple(await asyncio.gather(*(grader.grade(sample, pool.problem.answer) for sample in pool.samples)))
    clusters = await grader.cluster([grade.answer for grade in grades])
    return with_scores(replace(pool, grades=grades, clusters=clusters), scorers, settings)
