"""What stands before every endpoint: keys, the size of bodies, places, and the counts of what was answered."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from contextlib import nullcontext

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.serve.refusals import Refused
from tamis.serve.service import Service

OPEN = ("/healthz",)
"""Paths that ask for no key: who looks after a machine has none."""


class Guard:
    """Middleware: a request without a key or with too large a body gets no further, and every answer is counted."""

    def __init__(self, app: ASGIApp, *, service: Service, working: Sequence[str], others: Sequence[str]) -> None:
        """Prepare.

        Args:
            app: What is guarded.
            service: Whose.
            working: The paths behind which there is work; each request to them takes a place until its last byte.
            others: Further paths that are counted by name.
        """
        self._app, self._service, self._metrics = app, service, service.metrics
        self._working, self._known = working, (*working, *others)
        self._max_body = service.serving.max_body
        self._digests = [_digest(key) for key in service.serving.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, num_bytes = time.perf_counter(), 500, 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body:
                raise self._too_large()
            return message

        try:
            self._check(scope)
            is_work = scope["method"] == "POST" and scope["path"] in self._working
            with self._service.place() if is_work else nullcontext():
                await self._app(scope, limited, counted)
        except Refused as refused:
            self._metrics.refused(refused.code)
            await refusal(refused)(scope, receive, counted)
        finally:
            path = scope["path"] if scope["path"] in self._known else "other"
            self._metrics.answered(path, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._digests and scope["path"] not in OPEN:
            kind, _, key = headers.get("authorization", "").partition(" ")
            found = _digest(key.strip())
            matches = [hmac.compare_digest(found, digest) for digest in self._digests]  # all of them: no time tells which
            if kind.lower() != "bearer" or not any(matches):
                message = "this service asks for an API key: Authorization: Bearer KEY"
                raise Refused(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        message = f"the body is larger than {self._max_body} bytes"
        return Refused(413, message, code="body_too_large", headers={"Connection": "close"})


def refusal(refused: Refused) -> JSONResponse:
    """A refusal as a response."""
    return JSONResponse(refused.body(), refused.status, refused.headers)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
