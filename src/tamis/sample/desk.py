"""Samples for whoever asks: calls in front of an engine's stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tamis.errors import EngineError
from tamis.records import Request, Sample

if TYPE_CHECKING:
    from tamis.engines.base import Engine


class Desk:
    """Where many wait, each for samples of their own; enter it inside the event loop.

    All that is waited for at a time is drawn at the same time, as far as the engine has places. Nothing is kept of what was
    given out. When it is left, what is in flight is abandoned.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[Sample | None]] = {}  # by the key of the draw; None: see `_error`
        self._error: Exception | None = None
        self._trace: TracebackType | None = None

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.cancel()
        await asyncio.wait([self._serving])

    @property
    def error(self) -> Exception | None:
        """How the engine broke as a whole; None: it works."""
        return self._error

    async def draw(self, request: Request) -> Sample:
        """The one draw of a request; a failed sample where the draw failed.

        Raises:
            EngineError: The engine broke as a whole, now or before.
        """
        (sample,) = [sample async for sample in self.draw_each(request)]
        return sample

    async def draw_each(self, request: Request) -> AsyncGenerator[Sample, None]:
        """The draws of a request, each as it finishes; they share one prefill.

        Raises:
            EngineError: See `draw`.
        """
        if self._error:
            raise self._broken()
        new = tuple(draw for draw in request.draws if draw.key not in self._waiting)
        if new:
            self._waiting |= {draw.key: asyncio.get_running_loop().create_future() for draw in new}
            self._requests.put_nowait(replace(request, draws=new))
        owed = {self._waiting[draw.key] for draw in request.draws}
        while owed:
            finished, owed = await asyncio.wait(owed, return_when=asyncio.FIRST_COMPLETED)  # cancels none: others may wait
            samples = [future.result() for future in finished]
            for sample in samples:
                if sample is not None:
                    yield sample
            if None in samples:
                raise self._broken()

    def _broken(self) -> Exception:
        assert self._error
        return self._error.with_traceback(self._trace)  # many raise it: none adds to what the others show

    async def _serve(self) -> None:
        requests = self._all_requests()
        try:
            async with aclosing(requests), aclosing(self._engine.stream(requests)) as drawn:
                async for sample in drawn:
                    if waiting := self._waiting.pop(sample.key, None):
                        waiting.set_result(sample)
            raise EngineError("the engine ended before all was drawn", "Run the same command again")
        except Exception as error:  # noqa: BLE001 raised again by whoever waits
            self._error, self._trace = error, error.__traceback__
            for waiting in self._waiting.values():
                waiting.set_result(None)

    async def _all_requests(self) -> AsyncGenerator[Request, None]:
        while True:
            yield await self._requests.get()
