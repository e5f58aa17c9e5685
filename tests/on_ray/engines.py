"""Engines that workers can import, and engines that kill them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator

from sample.runs import flaky

from tamis.engines.scripted import ScriptedEngine
from tamis.records import Draw, Request, Sample


def plain() -> ScriptedEngine:
    return ScriptedEngine(flaky, token_stats=True, delay=0.01)


def broken() -> ScriptedEngine:
    return ScriptedEngine(flaky, break_after=5)


def deadly() -> ScriptedEngine:
    """Ends its process when it is asked about problem p3."""

    def answer(request: Request, draw: Draw) -> str:
        if request.problem_id == "p3":
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{draw.seed}"

    return ScriptedEngine(answer, max_draws_in_flight=1)


def dying() -> ScriptedEngine:
    """Ends its process while it is loaded."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Forgetful(ScriptedEngine):
    """Ends without a sample of the problem p1."""

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        async for sample in super().stream(requests):
            if sample.problem_id != "p1":
                yield sample


def forgetful() -> ScriptedEngine:
    return Forgetful(flaky)
