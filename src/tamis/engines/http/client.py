"""Asking until there is an answer: attempts, pauses between them, and what a server can do, found out on first contact."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, TypeVar

from tamis.engines.http.answers import read_answer
from tamis.engines.http.dialect import Dialect, exact_fields
from tamis.engines.http.endpoints import Endpoint, Endpoints
from tamis.engines.http.transport import NoAnswerError, RefusedError, TooManyError, Transport, UnknownPathError, one_line
from tamis.errors import EngineError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_TOP_LOGPROBS = (21, 20, 5, 0)
"""How many likeliest tokens are asked for, the most that a server takes; 21: see `logprobs` on vLLM's chat."""


def _partial(num_top: int) -> tuple[str, str]:
    """Of which tokens, and what that means."""
    tokens = f"the {num_top} likeliest tokens" if num_top else "the sampled tokens"
    return tokens, "scores that need the whole distribution are undefined there; `tamis vllm` gives it"


class Client:
    """Requests to the least loaded of several servers, until one answers."""

    def __init__(
        self,
        transport: Transport,
        endpoints: Sequence[Endpoint],
        dialect: Dialect,
        *,
        plain: bool,
        token_stats: bool,
        several: bool,
        retries: int,
        start_s: float,
        give_up_s: float,
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._plain = plain
        self._token_stats = token_stats
        self._several = several
        self._retries = retries
        self._give_up_s = give_up_s
        self._rng = Random(0)
        self.endpoints = Endpoints(endpoints, self._contact, self._rng, start_s=start_s, give_up_s=give_up_s)

    async def ask(
        self,
        path: str,
        make_body: Callable[[Endpoint], dict[str, Any]],
        read: Callable[[Any, Endpoint], T],
        hear: Callable[[str], bool] | None = None,
    ) -> T:
        """One answer, read; a 429 and a server that is down do not count as attempts. `hear`: see `Transport.post`.

        Raises:
            NoAnswerError: The last attempt failed.
            RefusedError: The server refuses the request for good.
            EngineError: No request can succeed.
        """
        clock = asyncio.get_running_loop().time
        num_failures = num_refusals = 0
        refused_since: float | None = None
        while True:
            endpoint = await self.endpoints.acquire()
            try:
                return await self._attempt(endpoint, path, make_body, read, hear)
            except TooManyError as error:
                num_refusals += 1
                refused_since = refused_since or clock()
                if clock() - refused_since > self._give_up_s:
                    advice = "Wait, or ask for less at once; a resume goes on from here"
                    raise EngineError("the server answers only that there are too many requests", advice) from None
                pause_s = self._pause(num_refusals) if error.wait_s is None else error.wait_s
            except NoAnswerError as error:
                num_failures += not error.is_down
                if num_failures > self._retries:
                    raise
                pause_s = max(self._pause(num_failures), error.wait_s or 0.0)
            finally:
                self.endpoints.release(endpoint)
            await asyncio.sleep(pause_s)

    def _pause(self, num_failures: int) -> float:
        """Exponential with full jitter."""
        return self._rng.uniform(0.0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(num_failures, 16)))

    async def _attempt(
        self,
        to: Endpoint,
        path: str,
        make_body: Callable[[Endpoint], dict[str, Any]],
        read: Callable[[Any, Endpoint], T],
        hear: Callable[[str], bool] | None = None,
    ) -> T:
        """One answer of one server; all that it learns of the server is noted."""
        try:
            while True:
                body = make_body(to)
                try:
                    answer = await self._transport.post(to.url + path, body, hear)
                except RefusedError as error:
                    if not self._dialect.learn(error.message, body):
                        to.answered()
                        raise
                    continue
                result = read(answer, to)
                to.answered()
                return result
        except UnknownPathError as error:
            await self._explain_404(to, path, str(error))
            to.failed(is_down=False, is_slow=False)
            raise NoAnswerError(f"the server answers 404: {error}") from None
        except TooManyError as error:
            to.refused(error.wait_s)
            raise
        except NoAnswerError as error:
            to.failed(is_down=error.is_down, is_slow=error.is_slow)
            raise

    async def _explain_404(self, endpoint: Endpoint, path: str, message: str) -> None:
        """Raise unless the server knows the model, so that the 404 is a whim."""
        models, _ = await self._models(endpoint)
        if self._dialect.model in models:
            return
        if models:
            names = ", ".join(sorted(models)[:20]) + (", ..." if len(models) > 20 else "")
            raise EngineError(f"the server has no model {self._dialect.model}", one_line(f"It has: {names}"))
        raise EngineError(f"{endpoint.url}{path} does not exist: {message}", "Check --base-url and --model")

    async def _models(self, endpoint: Endpoint) -> tuple[dict[str, str], int | None]:
        """The server's models and who owns each, none where it does not tell; V where it gives exact statistics."""
        for _ in range(self._retries + 1):
            try:
                page = await self._transport.get(endpoint.url + "/models")
                models = {str(row["id"]): str(row.get("owned_by")) for row in page["data"]}
                return models, int(page["tamis"]["vocab_size"]) if page.get("tamis") else None
            except NoAnswerError as error:
                if error.is_down:
                    raise
                await asyncio.sleep(self._pause(1))
            except TooManyError as error:
                await asyncio.sleep(error.wait_s or self._pause(1))
            except (UnknownPathError, RefusedError, KeyError, TypeError, ValueError, AttributeError):
                break
        return {}, None

    async def _contact(self, endpoint: Endpoint) -> None:
        """Whether it is there; on first contact, what it can do."""
        if endpoint.is_known:
            with suppress(TooManyError, RefusedError, UnknownPathError):  # it speaks
                await self._transport.get(endpoint.url + "/models")
            if endpoint.is_doubtful:
                await self._probe(endpoint, {}, partial(read_answer, num_top=None))
            return
        models, vocab_size = await self._models(endpoint)
        endpoint.takes_extras = models.get(self._dialect.model) in ("vllm", "sglang")
        if self._token_stats and not await self._probe_exact(endpoint, vocab_size):
            number = await self._probe_logprobs(endpoint)
            if number is None:
                _log.warning("%s gives no log-probabilities: samples have no token statistics", endpoint.url)
            else:
                _log.warning("%s gives log-probabilities of %s only: %s", endpoint.url, *_partial(number))
        if self._several and endpoint.vocab_size is None:
            choices = await self._probe(endpoint, {"n": 2}, partial(read_answer, num_top=None))
            endpoint.honours_n = choices is not None and len(choices) == 2
        endpoint.is_known = True

    async def _probe_exact(self, endpoint: Endpoint, vocab_size: int | None) -> bool:
        """Whether a server that offers exact statistics has them for a token too."""
        if vocab_size is not None:
            if await self._probe(endpoint, exact_fields(), lambda answer: isinstance(answer.get("tamis"), str)):
                endpoint.vocab_size = vocab_size
            else:
                _log.warning("%s offers exact token statistics and gives none", endpoint.url)
        return endpoint.vocab_size is not None

    async def _probe_logprobs(self, endpoint: Endpoint) -> int | None:
        for number in _TOP_LOGPROBS:
            field = {"logprobs": number} if self._plain else {"logprobs": True, "top_logprobs": number}
            choices = await self._probe(endpoint, field, partial(read_answer, num_top=number))
            if choices and choices[0].stats is not None:
                endpoint.top_logprobs = number
                break
        return endpoint.top_logprobs

    async def _probe(self, endpoint: Endpoint, fields: dict[str, Any], read: Callable[[Any], T]) -> T | None:
        """What is read of the answer to a request for one token; None: it is refused."""
        content = {"prompt": "Hi"} if self._plain else {"messages": [{"role": "user", "content": "Hi"}]}
        path = "/completions" if self._plain else "/chat/completions"
        body = {"model": self._dialect.model, **content, "max_tokens": 1, **fields}
        for attempt in range(1, self._retries + 2):
            try:
                return await self._attempt(endpoint, path, lambda _: self._dialect.spoken(body), lambda answer, _: read(answer))
            except RefusedError:
                return None
            except TooManyError as error:
                await asyncio.sleep(self._pause(attempt) if error.wait_s is None else error.wait_s)
            except NoAnswerError as error:
                if error.is_down or attempt > self._retries:
                    raise
                await asyncio.sleep(self._pause(attempt))
        raise NoAnswerError("the server answers only that there are too many requests")
