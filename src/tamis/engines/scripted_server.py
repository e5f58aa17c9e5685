"""A local server of OpenAI's protocol that says what it is told to, and fails as it is told to: for tests and benchmarks.

    async with ScriptedServer(["yes", "no"]) as server:  # in this event loop ...
        ...  # requests to server.base_url
    with ScriptedServer(faults=Faults(limited=0.2, reset=0.1)) as server:  # ... or in a thread of its own
        main(["generate", "--engine", "http", "--base-url", server.base_url, "--model", server.model])
        assert server.counts.by_status[429] > 0
    with ScriptedServer(rule=lambda asked, seed: netlists[asked.images[0]]) as server:  # a picture by its SHA-256
        ...

It listens on loopback only, on a free port that it keeps when it is stopped and started again: a server that dies and comes
back. What it says to one choice depends on the prompt's text and the choice's seed alone; choice i of a request has the
request's seed + i, as with vLLM. Without a seed, or when the seed is ignored, each request gets others. Log-probabilities are
those of `scripted.random_logp(text, seed)`, so that `scripted.random_stats(text, seed)` is what they come to.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web

from tamis.engines.scripted_faults import Faults, error_response, failure_response, json_response, reset
from tamis.engines.scripted_replies import Asked, BadRequest, Said, dumps, event, events, read_request, reply
from tamis.engines.scripted_texts import Script, digest, numbers, text_of

__all__ = ["Counts", "Faults", "ScriptedServer", "numbers"]

_MAX_BODY_BYTES = 64 << 20
_NUM_SLOW_PIECES = 5
_FAILED = {"error": {"message": "The model crashed.", "type": "server_error", "param": None, "code": None}}


@dataclass(slots=True)
class Counts:
    """What was asked of a server, and what became of it."""

    num_requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)  # what was answered at all
    by_fault: Counter[str] = field(default_factory=Counter)
    by_prompt: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)  # SHA-256 of their bytes
    max_in_flight: int = 0
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=256))  # the latest


class ScriptedServer:
    """See the module. The same object can be entered again after it was left; its counts go on.

    Attributes:
        model: The one model that it has.
        port: 0 until it was started.
        counts: What was asked so far.
        faults: How it fails; may be changed while it runs.
    """

    def __init__(
        self,
        script: Script = numbers,
        *,
        rule: Callable[[Asked, int], str] | None = None,
        faults: Faults | None = None,
        key: str | None = None,
        model: str = "scripted",
    ) -> None:
        """Prepare what is said.

        Args:
            script: What is said to a prompt's text under a seed.
            rule: Instead of the script: what is said to a whole request, which names its images too.
            faults: How it fails.
            key: What clients must present (401 otherwise); None: nothing.
            model: Its name.
        """
        self.model = model
        self.port = 0
        self.counts = Counts()
        self._say_to: Callable[[Asked, int], str] = rule or (lambda asked, seed: text_of(script, asked.prompt, seed))
        self.faults = faults or Faults()
        self._key = key
        self._attempts: Counter[str] = Counter()  # by the content of a request
        self._in_flight = 0
        self._runner: web.AppRunner | None = None
        self._thread: tuple[threading.Thread, asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def base_url(self) -> str:
        """With `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, backlog=4096)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    def __enter__(self) -> Self:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            stop = asyncio.Event()
            async with self:
                started.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        def work() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        thread = threading.Thread(target=work, name="scripted-server", daemon=True)
        thread.start()
        self._thread = (thread, *started.result())
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            thread, loop, stop = self._thread
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refuse_key(request):
            return self._answer(refusal)
        rows = [{"id": self.model, "object": "model", "created": 0, "owned_by": "tamis"}]
        return self._answer(json_response(200, dumps({"object": "list", "data": rows})))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._counted(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._counted(request, chat=False)

    async def _counted(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        self.counts.num_requests += 1
        self._in_flight += 1
        self.counts.max_in_flight = max(self.counts.max_in_flight, self._in_flight)
        try:
            return await self._generate(request, chat=chat)
        finally:
            self._in_flight -= 1

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        if refusal := self._refuse_key(request):
            return self._answer(refusal)
        sent = await request.read()
        try:
            body = orjson.loads(sent)
            asked = read_request(self._understood(body), chat=chat)
        except BadRequest as error:
            return self._answer(error_response(400, str(error), error.param, error.code))
        except orjson.JSONDecodeError:
            return self._answer(error_response(400, "The body is not JSON."))
        self.counts.bodies.append(body)
        self.counts.by_prompt[asked.prompt] += 1
        self.counts.images.update(asked.images)
        if asked.model != self.model:
            return self._answer(error_response(404, f"The model `{asked.model}` does not exist.", "model", "model_not_found"))
        content = hashlib.blake2b(sent, digest_size=8).hexdigest()
        attempt = self._attempts[content]
        self._attempts[content] += 1
        kind, latency = self.faults.draw(content, attempt)
        await asyncio.sleep(latency)
        if kind:
            self.counts.by_fault[kind] += 1
        if kind == "hang":
            await asyncio.Event().wait()
        if kind == "reset":
            reset(request)
            return web.Response()
        if failure := failure_response(kind, self.faults):
            return self._answer(failure)
        try:
            choices = self._say(asked, attempt)
        except LookupError as error:
            return self._answer(error_response(400, str(error.args[0]), "prompt"))
        return await self._send(request, kind, *_payload(asked, choices, kind, f"{content}-{attempt}"))

    def _understood(self, body: Any) -> Any:
        """The body without what has no effect here.

        Raises:
            BadRequest: It has what this server refuses.
        """
        if not isinstance(body, dict):
            return body
        for name in self.faults.refused:
            if name == "temperature" and body.get(name, 1) != 1:  # in the words of OpenAI's o-series, as below
                message = (
                    f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default (1) value"
                )
                raise BadRequest(f"{message} is supported.", name, "unsupported_value")
            if name != "temperature" and name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                if name == "max_tokens":
                    message += " Use 'max_completion_tokens' instead."
                raise BadRequest(message, name, "unsupported_parameter")
        return {name: value for name, value in body.items() if name not in self.faults.ignored}

    def _say(self, asked: Asked, attempt: int) -> list[Said]:
        first = asked.seed if asked.seed is not None else digest(asked.prompt, attempt)
        seeds = [(first + i) % 2**64 for i in range(asked.n)]
        return [Said.of(self._say_to(asked, seed), asked, i, seed) for i, seed in enumerate(seeds)]

    def _refuse_key(self, request: web.Request) -> web.Response | None:
        if self._key is None or request.headers.get("Authorization") == f"Bearer {self._key}":
            return None
        return error_response(401, "Incorrect API key provided.", None, "invalid_api_key")

    async def _send(self, request: web.Request, kind: str | None, content_type: str, pieces: list[bytes]) -> web.StreamResponse:
        """The body, whole or as far as it comes."""
        whole = b"".join(pieces)
        if kind == "torn_json":
            return self._answer(web.Response(body=whole[: len(whole) // 2], content_type=content_type))
        if len(pieces) == 1 and kind not in ("reset_midway", "hang_midway", "slow_body"):
            return self._answer(web.Response(body=whole, content_type=content_type))
        response = web.StreamResponse(headers={"Content-Type": content_type})
        if content_type == "application/json":
            response.content_length = len(whole)
        if kind in ("reset_midway", "hang_midway"):
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            if kind == "hang_midway":
                await asyncio.Event().wait()
            reset(request)
            return response
        if kind == "slow_body":
            size = -(-len(whole) // _NUM_SLOW_PIECES)
            pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        self.counts.by_status[200] += 1
        await response.prepare(request)
        for piece in pieces:
            if kind == "slow_body":
                await asyncio.sleep(self.faults.slow_s / len(pieces))
            await response.write(piece)
        await response.write_eof()
        return response

    def _answer(self, response: web.Response) -> web.Response:
        self.counts.by_status[response.status] += 1
        return response


def _payload(asked: Asked, choices: list[Said], kind: str | None, identity: str) -> tuple[str, list[bytes]]:
    """Content type and body, in pieces where it is streamed."""
    if kind == "duplicate_choices":
        choices = [*choices, choices[0]]
    if kind == "no_choices":
        return "application/json", [dumps({"id": identity, "object": "chat.completion", "model": asked.model})]
    if asked.stream:
        pieces = list(events(asked, choices, identity))
        return "text/event-stream", [*pieces[: len(pieces) // 2], event(_FAILED)] if kind == "error_midway" else pieces
    if kind == "error_midway":
        return "application/json", [dumps(_FAILED)]
    return "application/json", [dumps(reply(asked, choices, identity))]
