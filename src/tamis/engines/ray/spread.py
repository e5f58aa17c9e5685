"""One stream of requests over all workers."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tamis.engines.ray.place import DEATHS, MOST_DEATHS, Place
from tamis.engines.ray.worker import News
from tamis.errors import EngineError
from tamis.records import Draw, Failure, Request, Sample

_MOST_WAITING = 256  # samples that nobody has taken yet

Held = dict[str, Request]
"""By the key of each draw that a worker has been given and has not finished: its request."""


class Spread:
    """Gives requests to the workers that have room; what a worker held when it died is given first.

    A request is pulled only when some worker has room for it. What a worker sends of draws that it does not hold is dropped.
    """

    def __init__(self, places: Sequence[Place], requests: AsyncIterator[Request], described: Mapping[str, Any]) -> None:
        self._places, self._requests, self._described = places, requests, described
        self._out: asyncio.Queue[Sample | Exception | None] = asyncio.Queue(_MOST_WAITING)
        self._held: dict[Place, Held] = {}  # by the place of each worker that is drawing
        self._ready: deque[Request] = deque()  # to be given to whoever has room
        self._pull: asyncio.Task[None] | None = None
        self._has_all = False  # no further request is to be had
        self._deaths: Counter[str] = Counter()  # by key
        self._changed = asyncio.Event()  # replaced by another when it is set

    async def samples(self) -> AsyncGenerator[Sample, None]:
        """Each sample as it comes; raises what broke a worker's engine as a whole, or `requests`.

        Closed early, it abandons what is in flight.
        """
        tasks = [asyncio.create_task(self._serve(place)) for place in self._places]
        tasks.append(asyncio.create_task(self._end()))
        try:
            while isinstance(item := await self._out.get(), Sample):
                yield item
            if item is not None:
                raise item
        finally:
            tasks += [self._pull] if self._pull else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(place.worker.stop.remote() for place in self._held), return_exceptions=True)

    async def _end(self) -> None:
        """Say when all is drawn. A worker that is still loading is not waited for."""
        while not self._is_done:
            await self._change()
        await self._out.put(None)

    @property
    def _is_done(self) -> bool:
        return self._has_all and not self._ready and not self._held

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        await self._changed.wait()

    # --- the requests ------------------------------------------------------------------------------------------------

    async def _next(self) -> Request | None:
        """What is to be drawn next; None: all has been given to somebody."""
        while not self._ready:
            if self._has_all:
                return None
            if self._pull is None:
                self._pull = asyncio.create_task(self._fetch())
            await self._change()
        return self._ready.popleft()

    async def _fetch(self) -> None:
        try:
            request = await anext(self._requests, None)
        except Exception as error:  # noqa: BLE001 - raised where the samples are awaited
            await self._out.put(error)
            return
        self._pull = None
        if request is None:
            self._has_all = True
        else:
            self._ready.append(request)
        self._tell_change()

    # --- a worker ----------------------------------------------------------------------------------------------------

    async def _serve(self, place: Place) -> None:
        """Draw with the worker of a place, and with those that come after it, until all is drawn."""
        try:
            while True:
                if not await self._is_loaded(place):
                    continue
                while self._has_all and not self._ready:  # others may die yet
                    await self._change()
                await self._draw(place)
        except Exception as error:  # noqa: BLE001 - raised where the samples are awaited
            await self._out.put(error)

    async def _is_loaded(self, place: Place) -> bool:
        try:
            described = place.checked(await place.loading)
        except DEATHS:
            place.died_loading()
            return False
        both = [(name, value, described.get(name)) for name, value in self._described.items() if name != "model"]
        if changes := [f"{name}: {first} and {other}" for name, first, other in both if first != other]:
            advice = "Give --dtype and --device, and install the same everywhere"
            raise EngineError(f"the workers do not draw alike ({', '.join(changes)})", advice)
        return True

    async def _draw(self, place: Place) -> None:
        """One stream of a worker."""
        held = self._held[place] = {}
        try:
            await self._exchange(place, held)
        except DEATHS:
            place.replace()
            await self._hand_on(held)
        del self._held[place]
        self._tell_change()

    async def _exchange(self, place: Place, held: Held) -> None:
        giving: asyncio.Task[None] | None = None
        try:
            await place.worker.begin.remote()
            while True:
                news: News = await place.worker.news.remote()
                for sample in news.samples:
                    if held.pop(sample.key, None):
                        await self._out.put(sample)
                if news.error:
                    raise news.error
                if news.has_ended:
                    return
                if news.has_room:
                    giving = asyncio.create_task(self._give(place, held))
        finally:
            if giving is not None:
                giving.cancel()  # a dead worker is given nothing

    async def _give(self, place: Place, held: Held) -> None:
        request = await self._next()
        if request is not None:
            held.update({draw.key: request for draw in request.draws})
        told = replace(request, on_text=None) if request else None  # a listener is not sent to other processes
        place.worker.give.remote(told)  # if the worker is dead, `_draw` learns it too

    async def _hand_on(self, held: Held) -> None:
        """Let others draw what a dead worker held, save what too many of them have held."""
        self._deaths.update(held.keys())
        for request in {id(request): request for request in held.values()}.values():
            draws = [draw for draw in request.draws if draw.key in held]
            if again := tuple(draw for draw in draws if self._deaths[draw.key] < MOST_DEATHS):
                self._ready.appendleft(replace(request, draws=again))
            for draw in draws:
                if self._deaths[draw.key] >= MOST_DEATHS:
                    await self._out.put(_failed(request, draw))


def _failed(request: Request, draw: Draw) -> Sample:
    failure = Failure("engine", f"{MOST_DEATHS} workers died while they drew it, perhaps for want of memory")
    return Sample(draw.key, request.problem_id, draw.index, draw.seed, request.sampling, finish_reason="error", error=failure)
