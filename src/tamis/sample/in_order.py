"""All problems of a run in the order of their source, whatever was drawn when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from tamis.errors import InputError
from tamis.identity import sample_keys
from tamis.records import Pool, Problem, Prompt, Sampling
from tamis.sample.loop import sample
from tamis.sample.pending import Adaptive, Pending
from tamis.sample.progress import Progress

if TYPE_CHECKING:
    from tamis.engines.base import Engine
    from tamis.store import RunFolder


async def sample_in_order(
    problems: Callable[[], Iterable[Problem]],
    engine: Engine,
    sampling: Sampling,
    run: RunFolder,
    *,
    prompt: Callable[[Problem], Prompt],
    progress: Progress,
    max_problems_in_flight: int = 64,
    adaptive: Adaptive | None = None,
) -> AsyncGenerator[Pool, None]:
    """Every problem once, in order, with all its samples: drawn now where owed, from the folder where finished.

    As `sample`, save that `problems` opens the source anew at each call: the engine's walk is far ahead of the caller's where
    much is finished, and what lies between them is not kept. A pool has fewer samples than it should where the folder's are
    damaged (see `RunFolder.warnings`): `progress.samples_damaged` counts them, and the next run draws them.

    Raises:
        InputError: The two walks differ: the source changed meanwhile. What was drawn is kept.
    """
    drawn = sample(
        problems(),
        engine,
        sampling,
        run,
        prompt=prompt,
        progress=progress,
        max_problems_in_flight=max_problems_in_flight,
        in_order=True,
        adaptive=adaptive,
    )
    async with aclosing(drawn):
        new = await anext(drawn, None)
        for problem in problems():
            if new is not None and new.problem == problem:
                yield new
                new = await anext(drawn, None)
                continue
            await asyncio.sleep(0)  # a long stretch of finished problems must not keep the loop from all else
            if adaptive is None:
                old = next(pools([problem], run, sampling, prompt=prompt))
                progress.samples_damaged += sampling.n - len(old.samples)
            else:
                asked = prompt(problem)
                pending = Pending(problem, asked, sampling, sample_keys(problem.id, asked, sampling, range(sampling.n)))
                owed = await pending.advance(run, adaptive, again=False)
                progress.samples_damaged += len(owed.draws) if owed else 0
                old = pending.pool()
            yield old
        if new is not None:
            raise InputError("the problems changed while they were read", "Run the same command again")


def pools(
    problems: Iterable[Problem], run: RunFolder, sampling: Sampling, *, prompt: Callable[[Problem], Prompt]
) -> Iterator[Pool]:
    """Every problem, in order, with those of its n samples that are in the folder, the failed included."""
    for problem in problems:
        keys = sample_keys(problem.id, prompt(problem), sampling, range(sampling.n))
        yield Pool(problem, tuple(found for key in keys if (found := run.load(key))))
