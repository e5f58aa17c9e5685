"""One exchange with a server: a request, and its answer as JSON, whole or streamed, or one of four errors."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from tamis.engines.http.events import Events, StreamError
from tamis.errors import EngineError

_LONGEST_MESSAGE = 300  # characters
_LONGEST_WAIT_S = 600.0  # whatever Retry-After says
_LINGER_S = 1.0  # for the end of a stream after its last event, so that the connection serves again


class NoAnswerError(Exception):
    """Nothing usable came; another attempt may bring it.

    `is_down`: not even a connection, so that this says nothing of the request. `is_slow`: it took too long.
    """

    def __init__(self, message: str, *, is_down: bool = False, is_slow: bool = False, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.message, self.is_down, self.is_slow, self.wait_s = message, is_down, is_slow, wait_s


class TooManyError(Exception):
    """429: later. `wait_s` is what Retry-After asks for; None: nothing."""

    def __init__(self, wait_s: float | None) -> None:
        super().__init__("too many requests")
        self.wait_s = wait_s


class RefusedError(Exception):
    """The server will never answer this request, and says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnknownPathError(Exception):
    """404: the model or the endpoint is not there."""


class Transport:
    """A connection pool, a key, the limits of time and of requests a second. Enter it inside the event loop."""

    def __init__(self, key: str, timeout_s: float, idle_s: float, stream_idle_s: float, max_rps: float | None) -> None:
        self._key = key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(10.0, idle_s), sock_read=idle_s)
        self._idle_s, self._stream_idle_s = idle_s, stream_idle_s
        self._gap_s = 1.0 / max_rps if max_rps else 0.0
        self._next_turn = 0.0  # by the clock of the event loop

    async def __aenter__(self) -> Transport:
        """Open the pool."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the scheduler sets the limit
            headers=headers,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._session.close()

    async def post(self, url: str, body: dict[str, Any], hear: Callable[[str], bool] | None = None) -> Any:
        """Send JSON; the JSON that comes back. `hear` is told what a stream has said so far; False ends it there.

        Raises:
            NoAnswerError: See there; so too for what follows.
            TooManyError: 429.
            RefusedError: 400 and its like.
            UnknownPathError: 404.
            EngineError: The key is not accepted, or the account has no credit.
        """
        try:
            data = orjson.dumps(body)
        except TypeError:
            raise RefusedError("the prompt is not valid Unicode, or a field is not JSON") from None
        return await self._exchange("POST", url, data, hear)

    async def get(self, url: str) -> Any:
        """As `post`, of a page."""
        return await self._exchange("GET", url, None)

    async def _turn(self) -> None:
        """Wait until the limit of requests a second allows one more."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next_turn, now)
        self._next_turn = turn + self._gap_s
        await asyncio.sleep(turn - now)

    async def _exchange(self, method: str, url: str, body: bytes | None, hear: Callable[[str], bool] | None = None) -> Any:
        if self._gap_s:
            await self._turn()
        try:
            async with self._session.request(method, url, data=body, allow_redirects=False) as response:
                if response.status == 200 and response.content_type == "text/event-stream":
                    return await self._read_events(response, hear)
                data = await response.read()
                status, headers = response.status, response.headers
        except aiohttp.ConnectionTimeoutError:
            raise NoAnswerError("the server does not accept connections", is_down=True) from None
        except TimeoutError:
            raise NoAnswerError("the server took too long", is_slow=True) from None
        except aiohttp.ClientConnectorError as error:
            raise NoAnswerError(f"cannot connect: {error.os_error.strerror or 'no route'}", is_down=True) from None
        except StreamError as error:
            raise NoAnswerError(str(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"the connection broke: {type(error).__name__}") from None
        if status == 200:
            return _parse(data)
        raise self._error(status, data, _retry_after(headers.get("Retry-After")))

    async def _read_events(self, response: aiohttp.ClientResponse, hear: Callable[[str], bool] | None) -> Any:
        """The answer of a stream; it may be idle for `idle_s` before its first event and for `stream_idle_s` after each."""
        clock = asyncio.get_running_loop().time
        events = Events(_parse, hear)
        try:
            async with asyncio.timeout(self._idle_s) as limit:
                async for data in response.content.iter_any():
                    if events.feed(data):
                        if events.is_given_up:
                            response.close()  # by which the server learns that nobody waits
                            break
                        limit.reschedule(clock() + (_LINGER_S if events.is_done else self._stream_idle_s))
        except TimeoutError:
            if not events.is_done:
                raise
        if events.error is not None:
            error = events.error.get("error", events.error)
            code = error.get("code") if isinstance(error, dict) else None
            raise self._error(code if code in (400, 413, 422, 429) else 500, orjson.dumps(events.error), None)
        return events.answer()

    def _error(self, status: int, data: bytes, wait_s: float | None) -> Exception:
        message, code = self._said(data)
        if status in (401, 403):
            return EngineError(f"the server does not accept the API key ({status})", "Check --api-key or OPENAI_API_KEY")
        if status == 404:
            return UnknownPathError(message)
        if status == 429:
            if code == "insufficient_quota":
                return EngineError("the account has no credit left (429 insufficient_quota)", "Top it up, then run this again")
            return TooManyError(wait_s)
        if status in (400, 413, 414, 415, 422):
            return RefusedError(f"the server refuses the request ({status}): {message}")
        return NoAnswerError(f"the server answers {status}: {message}", wait_s=wait_s)

    def _said(self, data: bytes) -> tuple[str, str]:
        """The message of an error, in one line and without the key, and its code."""
        text, code = data[:4000].decode(errors="replace"), ""
        try:
            found = orjson.loads(data)
            error = found.get("error", found)
            text = str(error.get("message") or found.get("detail") or text) if isinstance(error, dict) else str(error)
            code = str(error.get("code", "")) if isinstance(error, dict) else ""
        except (ValueError, AttributeError):
            if text.lstrip().startswith("<"):
                text = "an HTML page"
        text = text.replace(self._key, "***") if self._key else text
        return one_line(text) or "nothing", code


def one_line(text: str) -> str:
    """A text of others made fit for an error message: printable, one line, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_MESSAGE]).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    try:  # half of a surrogate pair, which some servers escape and orjson refuses
        return orjson.loads(
            json.dumps(json.loads(data), ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    except (ValueError, RecursionError):
        what = "an HTML page" if data.lstrip()[:1] == b"<" else "nothing" if not data.strip() else "broken JSON"
        raise NoAnswerError(f"the server answers with {what}") from None


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, of a number or a date; None: nothing that can be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if not math.isnan(seconds) else None
