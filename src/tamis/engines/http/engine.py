"""The engine: draws of requests become requests to servers, and their answers samples.

A draw is a request of its own, under its own seed, so that what it gives depends on nothing else where the server honours seeds
(servers share the prefill of equal prompts anyway). With `several`, the draws owed to a prompt go in one request with `n`,
under the seed of the first of them, to servers that honour it: then a draw depends on its siblings too.

Answers that may be long (`LONG_ANSWER`) are streamed. What is gained: a hang shows after `stream_idle_s` and not only when the
whole answer is overdue, and nothing between here and the server takes the silence of a long answer for a dead connection. What
it costs: about 11 microseconds of processor time a token, 4 times that of a short answer (benchmarks/bench_http.py --stream),
which is why short ones come whole. The samples are the same; a stream that breaks off is another attempt, from the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from tamis.engines.http.answers import Choice, failed, read_answer, samples_of
from tamis.engines.http.client import Client
from tamis.engines.http.dialect import Dialect
from tamis.engines.http.endpoints import Endpoint
from tamis.engines.http.images import DataURLs
from tamis.engines.http.settings import find_api_key, find_base_urls
from tamis.engines.http.telling import Telling
from tamis.engines.http.transport import NoAnswerError, RefusedError, Transport
from tamis.errors import InputError, UsageError
from tamis.records import Draw, Failure, Request, Sample

LONG_ANSWER = 8192
"""Tokens: minutes of silence at the speed of most servers."""
_TASKS_A_SLOT = 4  # requests that wait before a further attempt leave their place to others


class HTTPEngine:
    """Any OpenAI-compatible server, or several with the same model.

    Token statistics are what top-k log-probabilities give: see `logprobs`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_urls: Sequence[str] = (),
        api_key: str | None = None,
        concurrency: int = 64,
        token_stats: bool = True,
        plain: bool = False,
        several: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        timeout_s: float = 1800.0,
        idle_s: float = 900.0,
        stream_from: int | None = LONG_ANSWER,
        stream_idle_s: float = 120.0,
        max_rps: float | None = None,
        retries: int = 8,
        start_s: float = 15.0,
        give_up_s: float = 3600.0,
    ) -> None:
        """Note where the servers are; nothing is sent before the first draw.

        Args:
            model: Its name on the servers.
            base_urls: With or without `/v1`; none: OPENAI_BASE_URL.
            api_key: None: OPENAI_API_KEY; "": none.
            concurrency: The most requests in flight to each server.
            token_stats: Ask for log-probabilities.
            plain: Send every prompt to `/completions`, not only the raw ones.
            several: Ask for all draws of a prompt in one request.
            extra_body: Further fields of every request.
            timeout_s: Seconds that an answer may take in all.
            idle_s: Seconds that may pass without a byte; an answer that is not streamed has none until it is finished.
            stream_from: Answers that may have so many tokens are streamed; None: none are.
            stream_idle_s: Seconds that may pass between two events of a stream.
            max_rps: The most requests a second to all servers together; None: no limit.
            retries: Attempts after the first that a draw is worth; a 429 is none.
            start_s: Seconds within which a server must answer at first.
            give_up_s: Seconds without any server after which the run ends; it pauses until then.

        Raises:
            UsageError: No model or server is named, a URL or the key cannot be one, or no request a second is allowed.
        """
        if max_rps is not None and not max_rps > 0:
            raise UsageError(f"the most requests a second are {max_rps:g}", "Give --max-rps a number above 0")
        if not model:
            raise UsageError("no model is named", "Give --model as the server calls it")
        self._model = model
        self._key = find_api_key(api_key)
        self._concurrency = concurrency
        self._endpoints = [Endpoint(url, concurrency) for url in find_base_urls(base_urls)]
        self._dialect = Dialect(model, plain=plain, extra_body=dict(extra_body or {}), stream_from=stream_from)
        self._token_stats = token_stats
        self._plain = plain
        self._several = several
        self._limits: dict[str, Any] = {"timeout_s": timeout_s, "idle_s": idle_s, "stream_idle_s": stream_idle_s}
        self._limits["max_rps"] = max_rps
        self._patience: dict[str, Any] = {"retries": retries, "start_s": start_s, "give_up_s": give_up_s}
        self.images = DataURLs()

    def describe(self) -> Mapping[str, Any]:
        """Model and servers; never the key."""
        return {"engine": "http", "model": self._model, "base_urls": [endpoint.url for endpoint in self._endpoints]}

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Draw every draw; each is yielded once, however many attempts it takes.

        Raises:
            EngineError: No server answers, the key is not accepted, or the model is unknown.
        """
        finished: asyncio.Queue[Sample | Exception | None] = asyncio.Queue()
        slots = asyncio.Semaphore(_TASKS_A_SLOT * self._concurrency * len(self._endpoints))
        drawing = asyncio.create_task(self._draw_all(requests, finished, slots))
        try:
            while (item := await finished.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
                slots.release()
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])

    def close(self) -> None:
        """Nothing to free: connections live as long as a stream."""

    async def _draw_all(
        self, requests: AsyncIterator[Request], finished: asyncio.Queue[Sample | Exception | None], slots: asyncio.Semaphore
    ) -> None:
        """A task for each request to a server, at most as many as there are slots."""
        try:
            first = await anext(requests, None)
            if first is None:
                return
            async with Transport(self._key, **self._limits) as transport:
                client = self._client(transport, plain=self._dialect.is_plain(first.prompt))
                client.endpoints.start()
                try:
                    async with asyncio.TaskGroup() as tasks:
                        await self._draw_request(client, first, tasks, finished, slots)
                        async for request in requests:
                            await self._draw_request(client, request, tasks, finished, slots)
                finally:
                    await client.endpoints.close()
        except ExceptionGroup as errors:
            finished.put_nowait(errors.exceptions[0])
        except Exception as error:  # noqa: BLE001 raised again in `stream`
            finished.put_nowait(error)
        finally:
            finished.put_nowait(None)

    def _client(self, transport: Transport, *, plain: bool) -> Client:
        return Client(
            transport,
            self._endpoints,
            self._dialect,
            plain=plain,
            token_stats=self._token_stats,
            several=self._several,
            **self._patience,
        )

    async def _draw_request(
        self,
        client: Client,
        request: Request,
        tasks: asyncio.TaskGroup,
        finished: asyncio.Queue[Sample | Exception | None],
        slots: asyncio.Semaphore,
    ) -> None:
        """Begin the draws of a request as slots are free."""
        prompt = request.prompt
        try:
            if prompt.images and self._dialect.is_plain(prompt):
                raise InputError("a plain completion takes no images")
            content = self._dialect.content(prompt, [await asyncio.to_thread(self.images.get, path) for path in prompt.images])
        except InputError as error:
            for draw in request.draws:
                await slots.acquire()
                finished.put_nowait(failed(request, draw, Failure("input", error.message)))
            return
        size = min(len(request.draws), self._concurrency) if self._several and not request.on_text else 1
        for start in range(0, len(request.draws), size):
            draws = request.draws[start : start + size]
            for _ in draws:
                await slots.acquire()
            tasks.create_task(self._draw(client, request, draws, content, finished))

    async def _draw(
        self,
        client: Client,
        request: Request,
        owed: Sequence[Draw],
        content: dict[str, Any],
        finished: asyncio.Queue[Sample | Exception | None],
    ) -> None:
        """Draw what goes in one request, or as many requests as it takes where the server gives fewer than it was asked for."""
        clock = asyncio.get_running_loop().time
        started = clock()
        path = "/chat/completions" if "messages" in content else "/completions"
        unsent: tuple[str, ...] = ()
        listener = None if request.watch else request.on_text  # what a watch gives up is known at the end only
        telling = Telling(owed[0], listener) if listener else None

        def num_asked(to: Endpoint) -> int:
            return len(owed) if to.honours_n else 1

        def make_body(to: Endpoint) -> dict[str, Any]:
            nonlocal unsent, started
            started = clock()  # of this attempt: waiting for a place, or for a server, is no work on the sample
            unsent = self._dialect.unsent(request.prompt)
            seed, is_heard = owed[0].seed, telling is not None
            return self._dialect.body(content, request.sampling, seed, num_asked(to), to, is_heard=is_heard)

        def read(answer: Any, to: Endpoint) -> list[Choice]:
            is_exact = to.vocab_size is not None
            choices = read_answer(answer, num_top=to.top_logprobs, is_exact=is_exact)[: num_asked(to)]
            if telling:
                telling.check(choices[0].text)
            return choices

        while owed:
            try:
                choices = await client.ask(path, make_body, read, telling.goes_on if telling else None)
                samples = samples_of(request, owed, choices, clock() - started, unsent)
            except (NoAnswerError, RefusedError) as error:
                samples = [failed(request, draw, Failure("engine", error.message), clock() - started) for draw in owed]
            for sample in samples:
                finished.put_nowait(sample)
            owed = owed[len(samples) :]
