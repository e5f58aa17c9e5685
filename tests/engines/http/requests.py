"""Requests, and an engine run over them, for the tests of the HTTP engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tamis.engines.http import HTTPEngine
from tamis.records import Draw, Message, Prompt, Request, Sample, Sampling


def request(name: str = "p", n: int = 1, *, raw: bool = False, images: Sequence[str] = (), watch=None, **sampling) -> Request:
    draws = tuple(Draw(f"{name}-{i}", i, 1000 * (sum(map(ord, name)) % 97) + i) for i in range(n))
    prompt = Prompt((Message("user", f"1 + 1? ({name})"),), images=tuple(images), raw=raw)
    return Request(name, prompt, Sampling(n=n, **sampling), draws, watch)


async def collect(engine: HTTPEngine, *requests: Request) -> list[Sample]:
    async def feed():
        for item in requests:
            yield item

    return sorted([sample async for sample in engine.stream(feed())], key=lambda s: (s.problem_id, s.index))


def run(engine: HTTPEngine, *requests: Request) -> list[Sample]:
    return asyncio.run(collect(engine, *requests))
