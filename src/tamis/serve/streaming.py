"""An answer as server-sent events: texts as they are drawn, or, where one of several is chosen, when it is.

Whoever leaves is drawn nothing more for: the draws are given up at their next token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tamis.records import Draw
from tamis.serve.refusals import Refused
from tamis.serve.replies import Reply, told
from tamis.store.files import encode
from tamis.workflows.answering import Answer, ranked

KEEP_ALIVE_S = 10.0
"""Silence after which a comment is sent, so that nothing on the way takes the connection for dead."""
_FIRST_S = 2.0  # within which what is wrong with a request is still told by its status


class Listener:
    """Hears the texts of a request's draws, from any thread, until nobody waits for them."""

    def __init__(self, *, is_live: bool) -> None:
        """`is_live`: somebody reads the texts while they grow."""
        self.is_gone = False
        self._is_live = is_live
        self.texts: dict[int, str] = {}  # by sample index, so far
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def hear(self, draw: Draw, text: str) -> bool:
        """See `records.OnText`."""
        if self._is_live and not self.is_gone:
            self.texts[draw.index] = text
            if not self.changed.is_set():
                with suppress(RuntimeError):  # the event loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(self.changed.set)
        return not self.is_gone


class Work:
    """A request under work; enter it, and leave it whatever happens."""

    def __init__(self, answer: Callable[[Listener], Awaitable[Answer]], *, is_live: bool) -> None:
        self.listener = Listener(is_live=is_live)
        self._answer = answer

    async def __aenter__(self) -> Work:
        self.task = asyncio.ensure_future(self._answer(self.listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.is_gone = True
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # it is told, or there is nobody to tell

    async def result(self, receive: Receive) -> Answer | None:
        """The answer, or None once the client has left.

        Raises:
            Refused: There is none.
        """
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait([self.task, left], return_when=asyncio.FIRST_COMPLETED)
            return self.task.result() if self.task.done() else None
        finally:
            left.cancel()

    async def news(self, timeout_s: float) -> bool:
        """Wait until a text has grown or all is done; False: nothing has happened in that time."""
        change = asyncio.ensure_future(self.listener.changed.wait())
        done, _ = await asyncio.wait([self.task, change], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        self.listener.changed.clear()
        return bool(done)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Closes the stream when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


async def opened(events: AsyncGenerator[bytes, None]) -> EventStream:
    """The response, once its first event is there: before that a refusal is told by its status.

    Raises:
        Refused: What `events` raises first.
    """
    first = await anext(events)

    async def all_events() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    return EventStream(all_events())


async def events(reply: Reply, work: Work) -> AsyncGenerator[bytes, None]:
    """The events of a reply; what goes wrong after the first is one of them."""
    asked = reply.asked
    sent: dict[int, str] = {}
    async with work:
        await work.news(_FIRST_S)
        if work.task.done():
            work.task.result()  # raises what is wrong
        yield _events(reply.piece(place, "", is_first=True) for place in range(asked.num_choices))
        while not work.task.done():
            if grown := _grown(work.listener, sent):
                yield _events(reply.piece(place, piece) for place, piece in grown)
            if not await work.news(KEEP_ALIVE_S):
                yield b": still drawing\n\n"
        try:
            answered = work.task.result()
        except Refused as refused:
            yield _events([refused.body()])
            return
        yield _events(_end(reply, answered, sent)) + b"data: [DONE]\n\n"


def _end(reply: Reply, answered: Answer, sent: dict[int, str]) -> Iterator[dict[str, Any]]:
    """What is left to say."""
    samples = ranked(answered, reply.asked.num_choices)
    for place, sample in enumerate(samples):
        if rest := sample.text[len(sent.get(place, "")) :]:
            yield reply.piece(place, rest)
        is_last = place == len(samples) - 1
        yield reply.end(place, sample) | ({"tamis": told(reply.asked, answered)} if is_last else {})
    if reply.asked.wants_usage:
        yield reply.counts(answered)


def _grown(listener: Listener, sent: dict[int, str]) -> list[tuple[int, str]]:
    """What is new of each text; it is noted as sent."""
    pieces = []
    for index, text in sorted(listener.texts.items()):
        if piece := text[len(sent.get(index, "")) :]:
            sent[index] = text
            pieces.append((index, piece))
    return pieces


def _events(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(b"data: %b\n\n" % encode(row) for row in rows)
