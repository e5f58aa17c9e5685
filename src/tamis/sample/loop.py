"""The sampling loop: owed draws go to the engine, finished samples into the journal, finished problems to the caller.

    problems --(owed?)--> requests --> engine --> samples --> journal
                 ^           ^                       |
                 |           '---- more needed? <----|
                 '------ a slot a problem <------ pools --> caller

Nothing here waits for a batch. At most `max_problems_in_flight` problems are between the source and the caller, so memory
does not grow with the dataset, a slow caller slows the engine, and a slow engine the source. What is drawn does not depend
on order or on timing: each sample's seed comes from the run's seed, the problem and the index, and whether a problem needs
more samples is asked only when all that it was said to need are in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tamis.identity import sample_keys
from tamis.records import Pool, Problem, Prompt, Request, Sample, Sampling
from tamis.sample.pending import Adaptive, Pending
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
    adaptive: Adaptive | None = None,
) -> AsyncGenerator[Pool, None]:
    """Draw what is owed; yield each problem with its samples, old and new, as soon as its last one is in the journal.

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
        adaptive: Says how many samples a problem needs, n at most. Those in the journal beyond them are not in its pool.

    Raises:
        EngineError: The engine broke as a whole. What it had finished is in the journal.
        Exception: What `problems`, `prompt` or `adaptive` raised, after all that was in flight has been drawn and journalled.
    """
    drawing = _Drawing(engine, sampling, run, progress, in_order, adaptive, max_problems_in_flight)
    task = asyncio.create_task(drawing.draw_all(problems, prompt))  # apart from the caller: a slow one never delays the journal
    task.add_done_callback(lambda _: drawing.finished.put_nowait(None))
    try:
        while (pool := await drawing.finished.get()) is not None:
            yield pool
            drawing.free_slot()
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


@dataclass(slots=True, eq=False)
class _Drawing:
    """The state of the loop."""

    engine: Engine
    sampling: Sampling
    run: RunFolder
    progress: Progress
    in_order: bool
    adaptive: Adaptive | None
    num_free: int  # problems that may be opened
    finished: asyncio.Queue[Pool | None] = field(default_factory=asyncio.Queue)
    in_flight: dict[str, Pending] = field(default_factory=dict)  # by the key of each draw
    under_way: set[str] = field(default_factory=set)  # keys of the first samples of problems that want samples still
    later: deque[Request] = field(default_factory=deque)  # further rounds: they come before new problems
    to_yield: deque[Pending] = field(default_factory=deque)  # when `in_order`: in the order of the source
    deciding: set[asyncio.Task[None]] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)  # raised when what is in flight has been drawn
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # a further round, a free slot, a problem less under way

    async def draw_all(self, problems: Iterable[Problem], prompt: Callable[[Problem], Prompt]) -> None:
        """Draw until nothing is owed."""
        requested = self._requests(problems, prompt)
        try:
            async with aclosing(requested), aclosing(self.engine.stream(requested)) as drawn:
                async for new in drawn:
                    self._settle(new)
            while self.in_flight or self.deciding:
                for key, pending in list(self.in_flight.items()):
                    self._settle(pending.never_drawn(key))
                await asyncio.gather(*self.deciding)
        finally:
            for task in self.deciding:
                task.cancel()
            await asyncio.gather(*self.deciding, return_exceptions=True)
        if self.errors:
            raise self.errors[0]

    def free_slot(self) -> None:
        """The caller has a problem: another may be opened."""
        self.num_free += 1
        self.changed.set()

    async def _requests(
        self, problems: Iterable[Problem], prompt: Callable[[Problem], Prompt]
    ) -> AsyncGenerator[Request, None]:
        """What the engine is to draw: further rounds first, then new problems as slots are free."""
        is_open = True
        async with aclosing(self._new_problems(problems, prompt)) as source:
            while True:
                self.changed.clear()
                is_open = is_open and not self.errors
                if self.later:
                    yield self.later.popleft()
                elif is_open and self.num_free:
                    request = await anext(source, None)
                    if request is None:
                        is_open = False
                    else:
                        yield request
                elif is_open or (self.adaptive and self.under_way):
                    await self.changed.wait()
                else:
                    return

    async def _new_problems(
        self, problems: Iterable[Problem], prompt: Callable[[Problem], Prompt]
    ) -> AsyncGenerator[Request, None]:
        """The first request of each problem for which anything is owed."""
        progress, n = self.progress, self.sampling.n
        try:
            for problem in problems:
                progress.problems_seen += 1
                asked = prompt(problem)
                keys = sample_keys(problem.id, asked, self.sampling, range(n))
                if keys[0] in self.under_way or (not self.adaptive and all(key in self.run for key in keys)):
                    progress.samples_reused += n
                    request = None
                else:
                    pending = Pending(problem, asked, self.sampling, keys)
                    request = await pending.advance(self.run, self.adaptive)
                    progress.samples_reused += pending.num_loaded
                if request:
                    self.num_free -= 1
                    self.under_way.add(keys[0])
                    self.in_flight.update({draw.key: pending for draw in request.draws})
                    if self.in_order:
                        self.to_yield.append(pending)
                    yield request
                    continue
                progress.problems_skipped += 1
                if progress.problems_skipped % _SKIPS_BETWEEN_PAUSES == 0:
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001
            self.errors.append(error)

    def _settle(self, new: Sample) -> None:
        """Keep a sample; when all that its problem asked for are in, find out whether it needs more."""
        pending = self.in_flight.pop(new.key, None)
        if pending is None:
            self.progress.samples_repeated += 1
            return
        self.run.append(new)
        self.progress.count(new)
        pending.samples[new.key] = new
        if not pending.has_all:
            return
        if self.adaptive is None:
            self._finish(pending)
            return
        task = asyncio.create_task(self._decide(pending))  # comparing answers may take long
        self.deciding.add(task)
        task.add_done_callback(self.deciding.discard)

    async def _decide(self, pending: Pending) -> None:
        num_loaded = pending.num_loaded
        try:
            request = await pending.advance(self.run, self.adaptive)
        except Exception as error:  # noqa: BLE001
            self.errors.append(error)
            self.under_way.discard(pending.keys[0])
        else:
            self.progress.samples_reused += pending.num_loaded - num_loaded
            if request:
                self.in_flight.update({draw.key: pending for draw in request.draws})
                self.later.append(request)
            else:
                self._finish(pending)
        self.changed.set()

    def _finish(self, pending: Pending) -> None:
        """Hand the problem over, or keep it until those before it are finished."""
        self.under_way.discard(pending.keys[0])
        pending.is_finished = True
        self.progress.problems_finished += 1
        if not self.in_order:
            self.finished.put_nowait(pending.pool())
        while self.to_yield and self.to_yield[0].is_finished:
            self.finished.put_nowait(self.to_yield.popleft().pool())
