"""The sampling loop: owed draws go to the engine, finished samples into the journal, finished problems to the caller.

    problems --(owed?)--> requests --> engine --> samples --> journal
                 ^                                   |
                 '------ a slot a problem <------ pools --> caller

Nothing here waits for a batch. At most `max_problems_in_flight` problems are between the source and the caller, so memory
does not grow with the dataset, a slow caller slows the engine, and a slow engine the source. What is drawn does not depend
on order or on timing: each sample's seed comes from the run's seed, the problem and the index.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tamis.records import Draw, Failure, Pool, Problem, Prompt, Request, Sample, Sampling, sample_keys, sample_seed
from tamis.sample.progress import Progress

if TYPE_CHECKING:
    from tamis.engines.base import Engine
    from tamis.store import RunFolder

_SKIPS_BETWEEN_PAUSES = 256  # problems passed over before the event loop gets a turn


async def sample(
    problems: Iterable[Problem],
    engine: Engine,
    sampling: Sampling,
    run: RunFolder,
    *,
    prompt: Callable[[Problem], Prompt],
    progress: Progress,
    max_problems_in_flight: int = 64,
    in_order: bool = False,
) -> AsyncGenerator[Pool, None]:
    """Draw what is owed; yield each problem with its n samples, old and new, as soon as its last one is in the journal.

    Problems with nothing owed yield nothing (`sample_in_order` has them all), nor does the second of two with the same id and
    prompt. A failed sample is journalled and its siblings go on; a draw that the engine ends without is a failed sample too.
    Wrap this in `contextlib.aclosing`: when it is closed or its task is cancelled, the engine's stream is closed, what is in
    flight is abandoned, and the journal holds all that was finished.

    Args:
        problems: Walked lazily; may be endless.
        engine: Where the samples come from.
        sampling: How each is drawn, and how many a problem (`n`).
        run: An open run folder, this process being its writer.
        prompt: What the model is asked about a problem.
        progress: Kept up to date for whoever looks at it.
        max_problems_in_flight: More keep a larger batch full, and hold more samples in memory.
        in_order: Hold a finished problem back until those before it have been yielded; it keeps its slot meanwhile.

    Raises:
        EngineError: The engine broke as a whole. What it had finished is in the journal.
        Exception: What `problems` or `prompt` raised, after all that was in flight has been drawn and journalled.
    """
    in_flight: dict[str, _Pending] = {}  # by the key of each draw
    to_yield: deque[_Pending] = deque()  # when `in_order`: finished or not, in the order of the source
    finished: asyncio.Queue[Pool | None] = asyncio.Queue()
    slots = asyncio.Semaphore(max_problems_in_flight)
    source_errors: list[Exception] = []

    async def requests() -> AsyncGenerator[Request, None]:
        try:
            for problem in problems:
                progress.problems_seen += 1
                asked = prompt(problem)
                keys = sample_keys(problem.id, asked, sampling, range(sampling.n))
                if all(key in run for key in keys) or not in_flight.keys().isdisjoint(keys):
                    progress.problems_skipped += 1
                    progress.samples_reused += sampling.n
                    if progress.problems_skipped % _SKIPS_BETWEEN_PAUSES == 0:
                        await asyncio.sleep(0)
                    continue
                await slots.acquire()
                pending = _Pending(problem, sampling, keys)
                owed = pending.load_finished(run)
                progress.samples_reused += sampling.n - len(owed)
                in_flight.update({draw.key: pending for draw in owed})
                if in_order:
                    to_yield.append(pending)
                yield Request(problem.id, asked, sampling, owed)
        except Exception as error:  # noqa: BLE001 raised again when what is in flight has been drawn
            source_errors.append(error)

    def settle(new: Sample) -> None:
        pending = in_flight.pop(new.key, None)
        if pending is None:
            progress.samples_repeated += 1
            return
        run.append(new)
        progress.count(new)
        pending.samples[new.key] = new
        if pending.is_finished:
            progress.problems_finished += 1
            if not in_order:
                finished.put_nowait(pending.pool())
        while to_yield and to_yield[0].is_finished:
            finished.put_nowait(to_yield.popleft().pool())

    async def draw_all() -> None:
        requested = requests()
        async with aclosing(requested), aclosing(engine.stream(requested)) as drawn:
            async for new in drawn:
                settle(new)
        for key, pending in list(in_flight.items()):
            settle(pending.never_drawn(key))
        if source_errors:
            raise source_errors[0]

    drawing = asyncio.create_task(draw_all())  # apart from the caller: a slow one never delays the journal
    drawing.add_done_callback(lambda _: finished.put_nowait(None))
    try:
        while (pool := await finished.get()) is not None:
            yield pool
            slots.release()
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])
        if not drawing.cancelled():
            drawing.result()


@dataclass(slots=True, eq=False)
class _Pending:
    """A problem on its way: its draws, and the samples that are in."""

    problem: Problem
    sampling: Sampling
    keys: list[str]  # by sample index
    samples: dict[str, Sample] = field(default_factory=dict)  # by key

    def load_finished(self, run: RunFolder) -> tuple[Draw, ...]:
        """Take what the folder has; returns what is owed, which is all that it has not or cannot read."""
        for key in self.keys:
            if key in run and (old := run.load(key)):
                self.samples[key] = old
        return tuple(self._draw(index) for index, key in enumerate(self.keys) if key not in self.samples)

    @property
    def is_finished(self) -> bool:
        """Whether all samples are in."""
        return len(self.samples) == len(self.keys)

    def _draw(self, index: int) -> Draw:
        return Draw(self.keys[index], index, sample_seed(self.sampling.seed, self.problem.id, index))

    def never_drawn(self, key: str) -> Sample:
        """The record of a draw that the engine has not given."""
        draw, failure = self._draw(self.keys.index(key)), Failure("engine", "the engine ended without this sample")
        return Sample(key, self.problem.id, draw.index, draw.seed, self.sampling, finish_reason="error", error=failure)

    def pool(self) -> Pool:
        """The problem with its samples, in order of index."""
        return Pool(self.problem, tuple(self.samples[key] for key in self.keys))
