"""A model that is loaded only when something is to be drawn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from tamis.engines.base import Engine, Reader
from tamis.errors import UsageError
from tamis.records import Question, Reading, Request, Sample, Verdict


class LazyEngine:
    """Opens an engine at the first request, so that resuming a finished run loads no model."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open = open_engine
        self._engine: Engine | None = None

    def open(self) -> Engine:
        """The engine, loaded now if it was not."""
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def describe(self) -> Mapping[str, Any]:
        """What the engine says of itself; opens it."""
        return self.open().describe()

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """What the engine draws, once there is a request."""
        first = await anext(requests, None)
        if first is None:
            return

        async def all_requests() -> AsyncIterator[Request]:
            yield first
            async for request in requests:
                yield request

        async with aclosing(self.open().stream(all_requests())) as stream:
            async for sample in stream:
                yield sample

    def read(self, readings: AsyncIterator[Reading]) -> AsyncGenerator[Sample, None]:
        """What the engine reads; opens it."""
        return self._reader().read(readings)

    def ask(self, groups: AsyncIterator[Sequence[Question]]) -> AsyncGenerator[Verdict, None]:
        """What the engine answers; opens it."""
        return self._reader().ask(groups)

    def _reader(self) -> Reader:
        engine = self.open()
        if not isinstance(engine, Reader):
            name = engine.describe().get("engine", "this")
            raise UsageError(f"the {name} engine cannot read texts again here", "Use --engine hf, without --on ray")
        return engine

    def close(self) -> None:
        """Free the model, if it was ever loaded. Idempotent."""
        if self._engine is not None:
            self._engine.close()
