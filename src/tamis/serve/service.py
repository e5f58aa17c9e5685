"""The service behind its endpoints: one engine, one desk, and what is let in."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tamis.config import Serving
from tamis.errors import UsageError
from tamis.grade import Grader
from tamis.records import Failure, OnText
from tamis.sample.desk import Desk
from tamis.serve.asking import Asked
from tamis.serve.metrics import Metrics
from tamis.serve.refusals import Refused, broken
from tamis.workflows.answering import Answer, answer
from tamis.workflows.models import model_name

if TYPE_CHECKING:
    from tamis.engines.base import Engine

RETRY_AFTER_S = 1
_log = logging.getLogger(__name__)


class Service:
    """Answers requests over one engine; enter it inside the event loop.

    All requests share one stream of the engine, so that they are drawn together. Once the engine broke as a whole, every
    request is refused, for its state cannot be known: the service is to end.

    Attributes:
        name: What clients call the model.
        serving: Its settings.
        metrics: What it counts.
        is_closing: Whether it takes no more requests.
        is_abandoned: Whether what it had taken is not answered either.
    """

    def __init__(self, engine: Engine, serving: Serving) -> None:
        self.serving = serving
        self.name = _served_name(serving.model)
        self.metrics = Metrics()
        self.is_closing = self.is_abandoned = False
        self._desk, self._grader = Desk(engine), Grader()
        self._stack = AsyncExitStack()
        self._num_in_flight = 0
        self._answering: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._grader)
        await self._stack.enter_async_context(self._desk)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def error(self) -> Exception | None:
        """How the engine broke as a whole; None: it works."""
        return self._desk.error

    @property
    def has_ended(self) -> bool:
        """Whether all that was let in is answered, and nothing more will be."""
        return (self.is_closing or self.error is not None) and not self._num_in_flight

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the requests under work.

        Raises:
            Refused: There are too many, or the service ends.
        """
        if self.error:
            raise broken()
        if self.is_closing:
            raise _closing()
        if self._num_in_flight >= self.serving.max_concurrent:
            message = f"{self._num_in_flight} requests are under work, as many as may be; try again"
            raise Refused(429, message, code="too_many_requests", headers={"Retry-After": str(RETRY_AFTER_S)})
        self._num_in_flight += 1
        self.metrics.in_flight.set(self._num_in_flight)
        try:
            yield
        finally:
            self._num_in_flight -= 1
            self.metrics.in_flight.set(self._num_in_flight)

    def abandon(self) -> None:
        """Tell all that is under work that it will not be answered."""
        self.is_abandoned = True
        for task in self._answering:
            task.cancel()

    async def answer(self, asked: Asked, on_text: OnText) -> Answer:
        """What comes of a request.

        Raises:
            Refused: Nothing: the prompt cannot be used, the draws failed, the engine broke.
        """
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            answered = await answer(asked.order, self._desk, self._grader, secrets.token_hex(8), on_text)
        except asyncio.CancelledError:
            if self.is_abandoned:
                raise _closing() from None
            raise
        except Exception as error:
            if self.error:
                raise broken() from None
            if isinstance(error, UsageError):
                raise Refused(400, str(error), code="invalid_value", param="tamis") from None
            raise
        finally:
            self._answering.discard(task)
        self.metrics.drawn(answered.pool.samples)
        failures = [sample.error for sample in answered.pool.samples if sample.error]
        if failures and (answered.choice is None or len(failures) == len(answered.pool.samples)):
            raise _failed(failures[0])
        return answered


def _closing() -> Refused:
    headers = {"Connection": "close", "Retry-After": str(RETRY_AFTER_S)}
    return Refused(503, "the service ends and takes no more requests", code="closing", headers=headers)


def _failed(failure: Failure) -> Refused:
    """A failure of a draw; what is wrong with the prompt is the client's to know, what is wrong with the engine is not."""
    if failure.boundary == "input":
        return Refused(400, failure.message, code="invalid_prompt")
    _log.warning("a request failed: %s", failure.message)
    return Refused(500, "the model failed to answer", code="engine_error")


def _served_name(model: str) -> str:
    """Of a path its last part; any other name as it stands."""
    return model_name(model) if Path(model).expanduser().exists() else model
