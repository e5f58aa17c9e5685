"""What the loop does with requests: one prefill, refill, limits, failures, memory, back pressure, an early end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch
from engines.hf.tiny_models import CONTEXT, PROMPTS, draw, model_folder, request, samples_of, stream

from tamis.engines.base import Engine
from tamis.engines.hf import HFEngine, bridge
from tamis.errors import EngineError
from tamis.records import Message, Prompt, Request


class Forwards:
    """Counts a model's forwards by the shape of their input."""

    def __init__(self, engine: HFEngine) -> None:
        self.shapes: list[tuple[int, int]] = []
        assert engine._loaded is not None
        engine._loaded.model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, _module: torch.nn.Module, _args: object, options: dict[str, torch.Tensor]) -> None:
        self.shapes.append(tuple(options["input_ids"].shape))

    @property
    def prefills(self) -> int:
        return sum(length > 1 for _, length in self.shapes)


def engine_of(batch_size: int, **options: object) -> HFEngine:
    return HFEngine(model_folder(), batch_size=batch_size, device="cpu", **options)


def test_it_is_an_engine_and_closes_twice() -> None:
    engine = engine_of(2)
    assert isinstance(engine, Engine)
    assert engine.describe()["engine"] == "hf"
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        draw(engine, [request("a")])


@pytest.mark.parametrize("batch_size", [3, 16])
def test_the_draws_of_a_request_share_one_prefill(batch_size: int) -> None:
    engine = engine_of(batch_size)
    forwards = Forwards(engine)
    items = [request(PROMPTS[0], n=8), request(PROMPTS[1], n=8)]
    found = draw(engine, items)
    assert len(found) == 16
    assert forwards.prefills == 2
    assert len({sample.text for sample in samples_of(found, items[0])}) > 4


def test_a_finished_row_is_replaced_at_once() -> None:
    engine = engine_of(4)
    forwards = Forwards(engine)
    limits = [40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    found = draw(engine, [request(f"x{i}", max_tokens=limit, temperature=2.0) for i, limit in enumerate(limits)])
    steps = sum(length == 1 for _, length in forwards.shapes)
    generated = sum(sample.completion_tokens for sample in found.values())
    assert generated > 60
    assert steps <= 42  # the longest row's; fixed batches would take 40 + 7 + 11


def test_prompts_beyond_the_context_fail_alone_and_answers_stop_at_it() -> None:
    engine = engine_of(4)
    long, full, fine = request("a" * (CONTEXT + 5)), request("a" * CONTEXT), request("fine", max_tokens=3, temperature=0.0)
    near = request("b" * (CONTEXT - 4), max_tokens=100, temperature=2.0, n=6)
    found = draw(engine, [long, fine, full, near])
    for item in (long, full):
        (sample,) = samples_of(found, item)
        assert sample.error is not None
        assert sample.error.boundary == "input"
        assert f"{len(item.problem_id)} tokens" in sample.error.message
        assert str(CONTEXT) in sample.error.message
        assert sample.finish_reason == "error"
    assert samples_of(found, fine)[0].error is None
    cut = [sample for sample in samples_of(found, near) if sample.finish_reason == "length"]
    assert cut
    assert all(sample.completion_tokens == 4 for sample in cut)


def test_prompts_that_cannot_be_used_fail_alone() -> None:
    folder = model_folder(template=True)
    engine = HFEngine(folder, batch_size=2, device="cpu")
    system = request("s")
    system = Request("s", Prompt((Message("system", "be brief"),)), system.sampling, system.draws)
    picture = request("p")
    picture = Request("p", Prompt((Message("user", "look"),), images=("a.png",)), picture.sampling, picture.draws)
    empty = request("", raw=True)
    found = draw(engine, [system, picture, empty, request("fine", n=2)])
    errors = {sample.problem_id: sample.error.message for sample in found.values() if sample.error}
    assert set(errors) == {"s", "p", ""}
    assert "no system turn" in errors["s"]
    assert "images" in errors["p"]
    assert "no tokens" in errors[""]


def test_stop_strings_cut_the_text_and_leave_their_tokens_out(engine: HFEngine) -> None:
    free = request(PROMPTS[1], n=12, max_tokens=40)
    unstopped = {sample.index: sample for sample in draw(engine, [free]).values()}
    letters = [c for sample in unstopped.values() for c in sample.text[5:] if c.isascii() and c.isprintable()]
    stops = tuple(sorted(set(letters), key=letters.count)[-2:])
    stopped = request(PROMPTS[1], n=12, max_tokens=40, stop=stops)
    stopped = Request(free.problem_id, free.prompt, stopped.sampling, free.draws)
    num_cut = 0
    for sample in draw(engine, [stopped]).values():
        whole = unstopped[sample.index]
        cut = min((at for stop in stops if (at := whole.text.find(stop)) >= 0), default=None)
        assert sample.stats is not None
        assert whole.stats is not None
        if cut is None:
            assert (sample.text, sample.finish_reason) == (whole.text, whole.finish_reason)
            continue
        num_cut += 1
        assert (sample.text, sample.finish_reason) == (whole.text[:cut], "stop")
        kept = int((whole.stats.starts < cut).sum())
        assert sample.completion_tokens == len(sample.stats) == kept
        np.testing.assert_array_equal(sample.stats.values, whole.stats.values[:kept])
        np.testing.assert_array_equal(sample.stats.starts, whole.stats.starts[:kept])
        assert (sample.chain is None) == (kept == 0)
        if kept:
            shorter = Request(free.problem_id, free.prompt, request("", max_tokens=kept).sampling, free.draws)
            again = {s.index: s for s in draw(engine, [shorter]).values()}[sample.index]
            np.testing.assert_allclose(sample.chain.values[0], again.chain.values[0], rtol=1e-6, atol=1e-6)
    assert num_cut >= 3


def break_after(engine: HFEngine, calls: set[int]) -> list[int]:
    """Make the model run out of memory in the middle of these forwards; returns the rows of each forward."""
    assert engine._loaded is not None
    seen: list[int] = []
    last_layer = engine._loaded.model.model.layers[-1]

    def hook(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(len(args[0]))
        if len(seen) in calls:
            raise torch.OutOfMemoryError("injected")

    last_layer.register_forward_pre_hook(hook)
    return seen


def test_out_of_memory_halves_the_batch_and_loses_nothing() -> None:
    items = [request(text, n=20, max_tokens=30) for text in PROMPTS]
    expected = draw(engine_of(16, hidden_states=True), items)
    engine = engine_of(64)
    rows = break_after(engine, {1, 9, 30})  # once in a prefill, twice in steps
    found = draw(engine, items)
    assert engine.batch_size == 8
    assert set(found) == set(expected)
    assert not any(sample.error for sample in found.values())
    assert max(rows[31:]) == 8
    first = [key for key in expected if np.array_equal(found[key].stats.ids, expected[key].stats.ids)]
    assert len(first) > len(expected) // 2  # fewer than 16 rows differ in the last bits, seldom in a token

    engine = engine_of(64, hidden_states=True)
    break_after(engine, {9, 30})
    found = draw(engine, items)
    assert engine.batch_size == 16
    for key, sample in expected.items():
        assert found[key].text == sample.text
        assert found[key].stats.values.tobytes() == sample.stats.values.tobytes()
        assert found[key].chain.values.tobytes() == sample.chain.values.tobytes()


def test_a_sample_that_never_fits_fails_and_the_others_go_on() -> None:
    engine = engine_of(1)
    break_after(engine, {2})
    found = draw(engine, [request("ab", draws=[0], max_tokens=3), request("cd", draws=[0], max_tokens=3)])
    errors = [sample.error for sample in found.values()]
    assert sorted(error is None for error in errors) == [False, True]
    assert any(error is not None and "out of memory" in error.message for error in errors)


def test_logits_that_are_not_numbers_fail_the_row_and_spare_the_next_tenant() -> None:
    engine = engine_of(2)
    assert engine._loaded is not None
    poison = True

    def hook(_module: torch.nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        return output.masked_fill(torch.tensor(poison), torch.nan)

    handle = engine._loaded.model.model.layers[0].register_forward_hook(hook)
    (sample,) = draw(engine, [request("abc")]).values()
    assert sample.error is not None
    assert "not numbers" in sample.error.message
    handle.remove()
    assert all(sample.error is None for sample in draw(engine, [request("abc", n=3)]).values())


def test_a_bug_in_the_model_is_an_engine_error() -> None:
    engine = engine_of(2)
    assert engine._loaded is not None

    def hook(*_: object) -> None:
        raise ZeroDivisionError("injected")

    engine._loaded.model.register_forward_pre_hook(hook)
    with pytest.raises(EngineError, match="ZeroDivisionError: injected"):
        draw(engine, [request("abc")])


def hf_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == bridge.THREAD_NAME]


def test_requests_are_pulled_only_as_fast_as_samples_are_taken() -> None:
    engine = engine_of(4)
    pulled = 0

    async def requests() -> AsyncIterator[Request]:
        nonlocal pulled
        for i in range(200):
            pulled += 1
            yield request(f"problem {i}", max_tokens=2, n=2)

    async def consume() -> None:
        samples = engine.stream(requests())
        taken = 0
        async for _ in samples:
            taken += 1
            if taken == 3:
                await asyncio.sleep(0.3)  # a slow consumer: decoding must pause by itself
                assert pulled <= (3 + 4 + 4 + 4) / 2 + 2  # taken, unread, in slots, waiting
            if taken == 40:
                break
        await samples.aclose()
        assert pulled <= (40 + 4 + 4 + 4) / 2 + 2

    asyncio.run(consume())


def test_closing_early_ends_the_thread_and_the_engine_works_on() -> None:
    engine = engine_of(4)

    async def first_only() -> None:
        samples = engine.stream(stream([request(text, n=8, max_tokens=200) for text in PROMPTS]))
        async for _ in samples:
            break
        await samples.aclose()
        assert not hf_threads()

    asyncio.run(first_only())
    assert len(draw(engine, [request("again", n=3)])) == 3


def test_an_error_of_the_source_comes_after_what_was_finished() -> None:
    engine = engine_of(4)

    async def requests() -> AsyncIterator[Request]:
        yield request("one", n=3)
        raise ValueError("bad line")

    async def consume() -> int:
        taken = 0
        try:
            async for _ in engine.stream(requests()):
                taken += 1
        except ValueError as error:
            assert str(error) == "bad line"  # noqa: PT017 - what came before it is counted
            return taken
        return -1

    assert asyncio.run(consume()) == 3
    assert not hf_threads()


def test_closing_never_waits_for_samples_that_nobody_takes() -> None:
    """A refused request gives all its samples at once, more than there is room for."""
    engine = engine_of(1)
    too_long = request("a" * (CONTEXT + 1), n=12)

    async def take_one() -> int:
        samples = engine.stream(stream([too_long]))
        try:
            return (await anext(samples)).index
        finally:
            await asyncio.wait_for(samples.aclose(), 60)

    assert asyncio.run(take_one()) == 0
    assert not hf_threads()
