"""Requests, and how to draw them in a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from tamis.engines.base import Engine
from tamis.identity import sample_keys, sample_seed
from tamis.records import Draw, Message, Prompt, Request, Sample, Sampling, Watch

EIGHT = [f"Count to {number} and back again." for number in range(3, 11)]


def request(
    text: str, *, raw: bool = True, images: Sequence[str] = (), watch: Watch | None = None, only: int | None = None, **how: Any
) -> Request:
    """All draws of a prompt, or the one that is named."""
    sampling = Sampling(**{"max_tokens": 24, **how})
    prompt = Prompt((Message("user", text),), tuple(images), raw)
    indices = range(sampling.n) if only is None else [only]
    keys = sample_keys(text, prompt, sampling, indices)
    draws = [Draw(key, i, sample_seed(sampling.seed, text, i)) for key, i in zip(keys, indices, strict=True)]
    return Request(text, prompt, sampling, tuple(draws), watch)


def draw(engine: Engine, requests: Iterable[Request]) -> dict[str, Sample]:
    """All samples by key."""

    async def one_by_one() -> AsyncIterator[Request]:
        for item in requests:
            yield item

    async def collect() -> dict[str, Sample]:
        return {sample.key: sample async for sample in engine.stream(one_by_one())}

    return asyncio.run(collect())
