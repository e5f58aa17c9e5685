"""Which server gets the next request, and when: limits that adapt, pauses, and servers that come back.

Per endpoint the number of requests in flight is bounded. It rises by 3 a round (a round: as many outcomes as the bound)
and falls by half the share of 429s and timeouts in the round, the way DCTCP reads congestion marks (Alizadeh et al., SIGCOMM
2010): a server that is full finds its level, and one that merely answers some 429s at random is not starved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from tamis.engines.http.transport import NoAnswerError
from tamis.errors import EngineError

_log = logging.getLogger(__name__)
_INCREASE = 3.0
_FAILURES_TO_PARK = 12  # in a row
_FAILURES_TO_DOUBT = 100  # since the last answer
_LONGEST_PROBE_PAUSE_S = 30.0


class Endpoint:
    """One server: how much it may be given, and what was learnt of it."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url = url
        self.num_in_flight = 0
        self.limit = float(concurrency)
        self.is_up = False
        self.blocked_until = 0.0  # by the clock of the event loop
        self.top_logprobs: int | None = None  # None: it gives no log-probabilities; 0: of the sampled tokens alone
        self.vocab_size: int | None = None  # None: it gives no exact statistics
        self.honours_n = False
        self.is_known = False  # it was asked what it can do
        self.takes_extras = False  # top_k, min_p and token ids are known to it
        self._most = concurrency
        self._num_outcomes = 0
        self._num_marks = 0  # 429s and timeouts of this round
        self._failures_in_a_row = 0
        self._failures_since_answer = 0
        self._refusals_in_a_row = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be there, list its models, and fail whatever it is asked: parked, it shall answer something first."""
        return self._failures_since_answer >= _FAILURES_TO_DOUBT

    def answered(self) -> None:
        """It gave an answer, if only that the request is wrong."""
        self._failures_in_a_row = self._failures_since_answer = self._refusals_in_a_row = 0
        self._count()

    def refused(self, wait_s: float | None) -> None:
        """It gave a 429; when it gives nothing else, nobody sends for as long as it asks."""
        self._num_marks += 1
        self._refusals_in_a_row += 1
        if wait_s is not None and self._refusals_in_a_row > self.limit:
            until = asyncio.get_running_loop().time() + wait_s
            self.blocked_until = max(self.blocked_until, until)
        self._count()

    def failed(self, *, is_down: bool, is_slow: bool) -> None:
        """It gave nothing usable; often enough in a row, it is parked."""
        self._failures_in_a_row += 1
        self._failures_since_answer += not is_down
        self._num_marks += is_slow
        if is_down or self._failures_in_a_row >= _FAILURES_TO_PARK:
            self.is_up = False
        self._count()

    def revive(self) -> None:
        """It answers again."""
        self.is_up = True
        self._failures_in_a_row = 0

    def _count(self) -> None:
        self._num_outcomes += 1
        if self._num_outcomes < self.limit:
            return
        share = self._num_marks / self._num_outcomes
        self.limit = max(1.0, min(self.limit * (1.0 - share / 2) + (_INCREASE if share < 1 else 0.0), self._most))
        self._num_outcomes = self._num_marks = 0


class Endpoints:
    """All servers; whoever has a request waits here for the least loaded one that may take it."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        contact: Callable[[Endpoint], Awaitable[None]],
        rng: Random,
        *,
        start_s: float,
        give_up_s: float,
    ) -> None:
        """Take the servers over; all begin parked.

        Args:
            endpoints: One or more.
            contact: Asks a server whether it is there, and on first contact what it can do; raises `NoAnswerError` if not.
            rng: For pauses.
            start_s: Seconds within which one of them must answer at first.
            give_up_s: Seconds without any of them before all is given up.
        """
        self._endpoints = endpoints
        for endpoint in endpoints:
            endpoint.is_up = False
        self._contact = contact
        self._rng = rng
        self._give_up_s = give_up_s
        self._patience_s = start_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._contacts: dict[str, asyncio.Task[None]] = {}
        self._down_since: float | None = None
        self._error: Exception | None = None

    def start(self) -> None:
        """Contact every server."""
        for endpoint in self._endpoints:
            self._park(endpoint)

    async def close(self) -> None:
        """End all contacts."""
        tasks = list(self._contacts.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def acquire(self) -> Endpoint:
        """A server that may be given one request more; give it back with `release`.

        Raises:
            EngineError: None of them has answered for too long, or a contact found that it is of no use to go on.
        """
        while True:
            if self._error:
                raise self._error
            now = asyncio.get_running_loop().time()
            free = [e for e in self._endpoints if e.is_up and e.num_in_flight + 1 <= e.limit and e.blocked_until <= now]
            if free:
                chosen = min(free, key=lambda e: e.num_in_flight)
                chosen.num_in_flight += 1
                return chosen
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            for endpoint in self._endpoints:
                if endpoint.blocked_until > now:
                    asyncio.get_running_loop().call_at(endpoint.blocked_until, self._wake, len(self._waiting))
            await turn

    def release(self, endpoint: Endpoint) -> None:
        """One request less; a server that was found down is parked."""
        endpoint.num_in_flight -= 1
        if not endpoint.is_up:
            self._park(endpoint)
        self._wake(2)  # the limit may have risen too

    def stop(self, error: Exception) -> None:
        """Nothing more is given out."""
        self._error = self._error or error
        self._wake(len(self._waiting))

    def _wake(self, number: int) -> None:
        while number > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                number -= 1

    def _park(self, endpoint: Endpoint) -> None:
        if self._down_since is None and not any(e.is_up for e in self._endpoints):
            self._down_since = asyncio.get_running_loop().time()
        if endpoint.url not in self._contacts:
            self._contacts[endpoint.url] = asyncio.create_task(self._contact_until_up(endpoint))

    async def _contact_until_up(self, endpoint: Endpoint) -> None:
        clock = asyncio.get_running_loop().time
        pause_s, is_told = 0.5, False
        try:
            while not endpoint.is_up:
                try:
                    await self._contact(endpoint)
                    endpoint.revive()
                except NoAnswerError as error:
                    if self._down_since is not None and clock() - self._down_since > self._patience_s:
                        advice = "Check --base-url, and that the server runs; a resume goes on from here"
                        raise EngineError(f"no server answers: {endpoint.url}: {error.message}", advice) from None
                    if not is_told:
                        _log.warning("%s: %s; it is asked again from time to time", endpoint.url, error.message)
                    is_told = True
                    await asyncio.sleep(self._rng.uniform(0.5, 1.0) * pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PROBE_PAUSE_S)
            if is_told:
                _log.warning("%s answers again", endpoint.url)
            self._down_since, self._patience_s = None, self._give_up_s
            self._wake(len(self._waiting))
        except Exception as error:  # noqa: BLE001 raised again by whoever waits
            self.stop(error)
        finally:
            del self._contacts[endpoint.url]
