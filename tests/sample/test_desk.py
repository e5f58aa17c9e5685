from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from sample.runs import answer, run_async

from tamis.engines.scripted import ScriptedEngine
from tamis.errors import EngineError
from tamis.records import Draw, Message, Prompt, Request, Sampling
from tamis.sample import LazyEngine
from tamis.sample.desk import Desk


def request(number: int) -> Request:
    prompt = Prompt((Message("user", "问"),))
    return Request(f"p{number}", prompt, Sampling(), (Draw(f"{number:016x}", 0, number),))


def test_each_caller_gets_its_own_sample_at_the_same_time():
    async def scenario():
        engine = ScriptedEngine(answer, delay=0.002, max_draws_in_flight=64)
        async with Desk(engine) as desk:
            samples = await asyncio.gather(*(desk.draw(request(number)) for number in range(200)))
            again = await asyncio.gather(desk.draw(request(3)), desk.draw(request(3)))
        assert [sample.key for sample in samples] == [f"{number:016x}" for number in range(200)]
        assert samples[7].text == answer(request(7), request(7).draws[0])
        assert again[0] is again[1]
        assert engine.num_draws == 201

    run_async(scenario())


def test_the_draws_of_one_request_come_as_they_finish_and_are_asked_for_together():
    async def scenario():
        engine = ScriptedEngine(answer, delay=lambda draw: 0.0 if draw.index else 3600.0)
        draws = tuple(Draw(f"{index:016x}", index, index) for index in range(4))
        async with Desk(engine) as desk, aclosing(desk.draw_each(replace(request(0), draws=draws))) as samples:
            assert {(await anext(samples)).index for _ in range(3)} == {1, 2, 3}
        assert engine.num_requests == 1

    run_async(scenario())


def test_a_broken_engine_is_told_to_all_who_wait_and_all_who_come():
    async def scenario():
        async with Desk(ScriptedEngine(answer, break_after=3, delay=0.001)) as desk:
            outcomes = await asyncio.gather(*(desk.draw(request(number)) for number in range(9)), return_exceptions=True)
            assert sum(isinstance(outcome, EngineError) for outcome in outcomes) == 6
            with pytest.raises(EngineError, match="broke after 3"):
                await desk.draw(request(99))

    run_async(scenario())


def test_leaving_abandons_what_is_in_flight_and_a_model_is_opened_for_a_caller_only():
    async def scenario():
        opened = []
        lazy = LazyEngine(lambda: opened.append(1) or ScriptedEngine(answer, delay=lambda _: 3600.0))
        async with Desk(lazy):
            await asyncio.sleep(0)
        assert not opened
        async with Desk(lazy) as desk:
            caller = asyncio.create_task(desk.draw(request(0)))
            await asyncio.sleep(0.01)
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
        assert opened == [1]
        assert len(asyncio.all_tasks()) == 1

    run_async(scenario())
