"""Two hundred clients at the same time: each gets its own answer, whole."""

from __future__ import annotations

import asyncio

import openai
from serve.running import NAME, Running, user

from tamis.engines.scripted import ScriptedEngine
from tamis.records import Draw, Request

NUM_CLIENTS, NUM_ROUNDS = 200, 3


def said(question: str, index: int) -> str:
    return f"Of {question}, 第 {index} 次: the answer is \\boxed{{{sum(map(ord, question)) + index % 3}}}"


def script(request: Request, draw: Draw) -> str:
    return said(request.prompt.text, draw.index)


def test_no_answer_is_lost_or_mixed_up():
    async def ask(client: openai.AsyncOpenAI, number: int) -> None:
        for round_ in range(NUM_ROUNDS):
            question = f"question {number}, round {round_}"
            kind = (number + round_) % 4
            if kind == 0:
                reply = await client.chat.completions.create(model=NAME, messages=user(question), n=2, max_tokens=300)
                assert [c.message.content for c in reply.choices] == [said(question, 0), said(question, 1)]
            elif kind == 1:
                reply = await client.completions.create(model=f"{NAME}@self-consistency:4", prompt=question, max_tokens=300)
                assert reply.choices[0].text == said(question, 0)
                assert [row["text"] for row in reply.tamis["alternatives"]] == [said(question, i) for i in (1, 2, 3)]
            elif kind == 2:
                stream = await client.chat.completions.create(model=NAME, messages=user(question), stream=True)
                pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
                assert "".join(pieces) == said(question, 0)
            else:
                stream = await client.chat.completions.create(
                    model=f"{NAME}@adaptive-consistency:9", messages=user(question), stream=True
                )
                pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
                assert "".join(pieces) == said(question, 0)

    async def all_clients(base_url: str) -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=300) as client:
            await asyncio.gather(*(ask(client, number) for number in range(NUM_CLIENTS)))

    engine = ScriptedEngine(script, token_stats=False, delay=0.01, max_draws_in_flight=64)
    with Running(engine) as running:
        asyncio.run(all_clients(running.base_url))
        assert not running.service._desk._waiting
        page = running.service.metrics.page().decode()
    assert f'status="200"}} {3 * NUM_CLIENTS * NUM_ROUNDS // 4}.0' in page
    assert 'status="4' not in page
    assert 'status="5' not in page
