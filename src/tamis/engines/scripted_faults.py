"""What can go wrong between a client and a server, drawn from a seed: for `scripted_server`."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Self, get_args

from aiohttp import web

from tamis.engines.scripted_replies import error_body
from tamis.errors import UsageError

Kind = Literal[
    "limited",
    "limited_bare",
    "error_500",
    "error_503",
    "reset",
    "reset_midway",
    "hang",
    "slow_body",
    "html_200",
    "html_502",
    "torn_json",
    "no_choices",
    "duplicate_choices",
    "hang_midway",
    "error_midway",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s
_HTML = b"<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Faults:
    """How often an answer goes wrong, and how.

    Rates lie in [0, 1] and are drawn apart from each other; where several kinds hit one request, one of them is picked, so
    that a rate is exact when it stands alone. What hits a request depends on `seed`, its content and how often that content
    was sent before: not on time, order or concurrency.
    """

    limited: float = 0.0  # 429 with Retry-After
    limited_bare: float = 0.0  # 429 without
    error_500: float = 0.0
    error_503: float = 0.0
    reset: float = 0.0  # connection reset instead of an answer
    reset_midway: float = 0.0  # after half of the body
    hang: float = 0.0  # no answer, until the client leaves
    slow_body: float = 0.0  # the body takes `slow_s`
    html_200: float = 0.0  # an error page instead of the answer
    html_502: float = 0.0
    torn_json: float = 0.0  # half of the body under a right Content-Length
    no_choices: float = 0.0  # JSON without `choices`
    duplicate_choices: float = 0.0  # the first choice comes twice
    hang_midway: float = 0.0  # half of the body, then nothing until the client leaves
    error_midway: float = 0.0  # half of a stream, then an event that tells of an error; else that alone under status 200
    seed: int = 0
    latency_s: float = 0.0  # of every request, spread by up to half
    retry_after_s: float = 1.0
    slow_s: float = 1.0
    refused: tuple[str, ...] = ()  # fields of the body that are answered with 400; temperature unless it is 1
    ignored: tuple[str, ...] = ()  # fields of the body that have no effect: n, seed, logprobs, ...

    def __post_init__(self) -> None:
        for kind in KINDS:
            if not 0 <= getattr(self, kind) <= 1:
                raise UsageError(f"the rate of {kind} is no probability: {getattr(self, kind)}", "Give a number in [0, 1]")

    @classmethod
    def of_every_kind(cls, rate: float, **settings: Any) -> Self:
        """All kinds at one rate; `settings` are the fields that are no rates."""
        rates: dict[str, Any] = dict.fromkeys(KINDS, rate)
        return cls(**rates, **settings)

    def draw(self, content: str, attempt: int) -> tuple[Kind | None, float]:
        """What goes wrong with the `attempt`-th request (from 0) of this content, and its latency in seconds."""
        random = Random(f"{self.seed} {content} {attempt}")
        latency = self.latency_s * random.uniform(0.5, 1.5)
        hits = [kind for kind in KINDS if random.random() < getattr(self, kind)]
        return (random.choice(hits) if hits else None), latency


def failure_response(kind: Kind | None, faults: Faults) -> web.Response | None:
    """The answer of a request that fails as a whole; None: this kind leaves a body, or nothing at all."""
    match kind:
        case "limited" | "limited_bare":
            response = error_response(429, "Rate limit reached.", None, "rate_limit_exceeded")
            if kind == "limited":
                response.headers["Retry-After"] = f"{faults.retry_after_s:g}"
            return response
        case "error_500" | "error_503":
            return error_response(int(kind[-3:]), "The server had an error.")
        case "html_200" | "html_502":
            return web.Response(status=int(kind[-3:]), body=_HTML, content_type="text/html")
    return None


def error_response(status: int, message: str, param: str | None = None, code: str | None = None) -> web.Response:
    """An error in OpenAI's form."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return json_response(status, error_body(message, kind, param, code))


def json_response(status: int, body: bytes) -> web.Response:
    """JSON that is encoded already."""
    return web.Response(status=status, body=body, content_type="application/json")


def reset(request: web.Request) -> None:
    """Close the connection as a crashed server does: RST, and what was not sent is lost."""
    if request.transport:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
