"""One worker: an engine in a process of its own, which is told requests and asked for samples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tamis.engines.base import Engine
from tamis.errors import EngineError, TamisError
from tamis.records import Request, Sample

_MOST_UNSENT = 64  # samples; then the engine waits until they are fetched


@dataclass(frozen=True, slots=True)
class News:
    """What has happened since the last news."""

    samples: tuple[Sample, ...]
    has_room: bool  # the engine waits for a request
    has_ended: bool  # all requests are drawn, or the engine broke
    error: TamisError | None = None  # how it broke


class Worker:
    """An actor of Ray; its methods are called from another process. One stream at a time."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open = open_engine
        self._engine: Engine
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> Mapping[str, Any] | TamisError:
        """Load the model; what it says of itself, or why it does not load."""
        try:
            self._engine = self._open()
            return dict(self._engine.describe())
        except TamisError as error:
            return error

    async def begin(self) -> None:
        """Begin a stream."""
        await self.stop()
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()
        self._samples: asyncio.Queue[Sample] = asyncio.Queue(_MOST_UNSENT)
        self._has_room = self._has_ended = False
        self._error: TamisError | None = None
        self._has_news = asyncio.Event()
        self._task = asyncio.create_task(self._draw())

    async def give(self, request: Request | None) -> None:
        """The next request; None: there are no more."""
        self._requests.put_nowait(request)

    async def news(self) -> News:
        """What has happened, as soon as something has."""
        await self._has_news.wait()
        self._has_news.clear()
        samples = tuple(self._samples.get_nowait() for _ in range(self._samples.qsize()))
        has_room, self._has_room = self._has_room, False
        return News(samples, has_room, self._has_ended, self._error)

    async def stop(self) -> None:
        """Abandon the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _draw(self) -> None:
        try:
            async with aclosing(self._engine.stream(self._given())) as samples:
                async for sample in samples:
                    self._has_news.set()  # before waiting for a place among those unsent
                    await self._samples.put(sample)
                    self._has_news.set()
        except TamisError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - raised again where the samples are awaited
            self._error = EngineError(f"the engine of a worker broke: {type(error).__name__}: {error}")
        self._has_ended = True
        self._has_news.set()

    async def _given(self) -> AsyncIterator[Request]:
        while True:
            if self._requests.empty():
                self._has_room = True
                self._has_news.set()
            request = await self._requests.get()
            if request is None:
                return
            yield request
