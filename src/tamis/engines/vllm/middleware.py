"""Token statistics over HTTP: a request asks for them by a key of its own, and they come in the answer.

A completion, chat or plain, of one choice, with `"vllm_xargs": {"tamis": KEY}` is answered with one field more, `"tamis"`:
base64 of what `collect` gives, or null; when it is streamed, in an event without choices before the last. KEY is any text of
letters, digits, `-` and `_` that no other request uses. The page of the models says `"tamis": {"vocab_size": V}`, by which
clients know.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tamis.engines.vllm.collect import Collector

Message = MutableMapping[str, Any]
_KEY = re.compile(
    rb'"vllm_xargs"\s*:\s*\{[^{}]*?"tamis"\s*:\s*"([\w-]{1,64})"'
)  # quotes inside of a JSON text have a backslash
_DONE = b"data: [DONE]"


class StatisticsMiddleware:
    """Pure ASGI; what does not concern it passes untouched."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """One exchange."""
        collector = getattr(scope["app"].state, "tamis", None) if scope["type"] == "http" else None
        if collector is not None and scope["method"] == "POST" and scope["path"].endswith("/completions"):
            asked = _Asked(receive, collector)
            try:
                await self._app(scope, asked, _Spliced(send, asked.field))
            finally:
                asked.forget()
        elif collector is not None and scope["method"] == "GET" and scope["path"].endswith("/models"):

            async def about() -> bytes:
                return json.dumps({"vocab_size": collector.vocab_size}).encode()

            await self._app(scope, receive, _Spliced(send, about))
        else:
            await self._app(scope, receive, send)


class _Asked:
    """The receiving side of a request: notes the key that it gives."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], collector: Collector) -> None:
        self._receive = receive
        self._collector = collector
        self._body: list[bytes] = []
        self._key: str | None = None

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body.append(message.get("body", b""))
            if not message.get("more_body"):
                found = _KEY.search(b"".join(self._body))
                self._key = found[1].decode() if found else None
                self._body.clear()
        return message

    async def field(self) -> bytes | None:
        """The statistics as a JSON value; None: nobody asked."""
        if self._key is None:
            return None
        key, self._key = self._key, None
        packed = await self._collector.take(key)
        return b"null" if packed is None else b'"%b"' % b64encode(packed)

    def forget(self) -> None:
        """The exchange is over, answered or not."""
        if self._key is not None:
            self._collector.drop(self._key)


class _Spliced:
    """The sending side: adds the field to a JSON object or to a stream of events; other answers pass as they are."""

    def __init__(self, send: Callable[[Message], Awaitable[None]], field: Callable[[], Awaitable[bytes | None]]) -> None:
        self._send = send
        self._field = field
        self._start: Message | None = None  # of a JSON answer, held back, for its length will change
        self._body: list[bytes] = []
        self._is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._is_stream = kind.startswith(b"text/event-stream")
            if kind.startswith(b"application/json"):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body.append(message.get("body", b""))
            if not message.get("more_body"):
                await self._send_whole(self._start, b"".join(self._body))
            return
        elif message["type"] == "http.response.body" and self._is_stream and message.get("body", b"").startswith(_DONE):
            field = await self._field()
            if field is not None:
                message = {**message, "body": b'data: {"choices":[],"tamis":%b}\n\n%b' % (field, message["body"])}
        await self._send(message)

    async def _send_whole(self, start: Message, body: bytes) -> None:
        field = await self._field() if body.endswith(b"}") else None
        if field is not None:
            body = b'%b,"tamis":%b}' % (body[:-1], field)
            headers = [header for header in start["headers"] if header[0] != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
