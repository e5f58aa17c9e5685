"""A pool of samples, graded, clustered and scored: the second half of every workflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from tamis.grade import Grader
from tamis.records import Pool
from tamis.score import ScoreSettings, why_unscored, with_scores
from tamis.select import Method

Item = TypeVar("Item")


async def examine(pool: Pool, grader: Grader, scorers: Iterable[str] = (), settings: ScoreSettings | None = None) -> Pool:
    """The same pool with its answers judged against the reference, put into classes of equals, and scored."""
    grades = tuple(await asyncio.gather(*(grader.grade(sample, pool.problem.answer) for sample in pool.samples)))
    clusters = await grader.cluster([grade.answer for grade in grades])
    return with_scores(replace(pool, grades=grades, clusters=clusters), scorers, settings)


async def paced(items: Iterable[Item]) -> AsyncGenerator[Item, None]:
    """Items for a consumer that awaits; all else gets its turn between them."""
    for item in items:
        await asyncio.sleep(0)
        yield item


def score_cells(pool: Pool, scorers: Iterable[str], position: int) -> dict[str, Any]:
    """What a row says of one sample: its scores, and for each that is missing the reason."""
    values = {name: pool.scores[name][position] for name in scorers}
    sample = pool.samples[position]
    unscored = {name: why_unscored(sample, name) for name, value in values.items() if value is None}
    return {"scores": values} | ({"unscored": unscored} if unscored else {})


def why_not(pool: Pool, method: Method) -> str | None:
    """Why no sample of a pool has the score that the method goes by; None: some have, or none is needed, or none has a word."""
    if method.scorer is None or not any(sample.text for sample in pool.samples):
        return None
    if any(value is not None for value in pool.scores[method.scorer]):
        return None
    return next(why_unscored(sample, method.scorer) for sample in pool.samples if sample.text)
