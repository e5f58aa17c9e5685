from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.engines.base import Engine, Reader
from tamis.engines.scripted import ScriptedEngine, random_chain, random_stats
from tamis.errors import EngineError
from tamis.identity import sample_seed
from tamis.records import Draw, Failure, Message, Prompt, Question, Reading, Request, Sample, Sampling, Verdict
from tamis.steps import split_steps


def request(problem_id: str = "p", n: int = 3, **sampling) -> Request:
    draws = tuple(Draw(f"{hash((problem_id, i)) % 2**64:016x}", i, sample_seed(0, problem_id, i)) for i in range(n))
    return Request(problem_id, Prompt((Message("user", "1 + 1?"),)), Sampling(n=n, **sampling), draws)


def run(engine: ScriptedEngine, *requests: Request) -> list[Sample]:
    async def feed():
        for item in requests:
            yield item

    async def collect():
        return [sample async for sample in engine.stream(feed())]

    return asyncio.run(collect())


def by_index(samples: list[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda s: (s.problem_id, s.index))


def test_it_is_an_engine():
    assert isinstance(ScriptedEngine([]), Engine)
    assert ScriptedEngine([]).describe() == {"engine": "scripted"}


def test_scripts_by_problem_by_index_and_by_function():
    requests = request("a"), request("b", n=2)
    texts = [s.text for s in by_index(run(ScriptedEngine({"a": ["1", "2"], "b": ["三"]}), *requests))]
    assert texts == ["1", "2", "1", "三", "三"]
    assert [s.text for s in by_index(run(ScriptedEngine(["x", "y"]), *requests))] == ["x", "y", "x", "x", "y"]
    samples = by_index(run(ScriptedEngine(lambda r, d: f"{r.problem_id}{d.index} {d.seed}"), *requests))
    assert [s.text for s in samples] == [f"{r.problem_id}{d.index} {d.seed}" for r in requests for d in r.draws]
    assert [(s.key, s.index, s.seed) for s in samples] == [(d.key, d.index, d.seed) for r in requests for d in r.draws]


def test_a_whole_sample_is_given_as_it_is():
    whole = Sample("00" * 8, "q", 7, 7, Sampling(), ("x",))
    assert run(ScriptedEngine(lambda *_: whole), request(n=1)) == [whole]


def test_failures_are_samples():
    engine = ScriptedEngine(lambda _, draw: Failure("engine", "out of memory") if draw.index == 1 else "fine")
    samples = by_index(run(engine, request()))
    assert [s.error and s.error.message for s in samples] == [None, "out of memory", None]
    assert [s.finish_reason for s in samples] == ["stop", "error", "stop"]
    (sample,) = run(ScriptedEngine({"other": ["x"]}), request(n=1))
    assert sample.error == Failure("engine", "the script has no answer to problem p")


@pytest.mark.parametrize(
    ("text", "stop", "max_tokens", "expected", "reason"),
    [
        ("abcdef", (), 10, "abcdef", "stop"),
        ("abcdef", (), 6, "abcdef", "length"),  # no room for the end token
        ("abcdef", (), 4, "abcd", "length"),
        ("abcdef", ("cd",), 10, "ab", "stop"),
        ("abcdef", ("ef", "cd"), 10, "ab", "stop"),
        ("abcdef", ("cd",), 3, "abc", "length"),  # cut before the stop string is whole
        ("abcdef", ("ab",), 10, "", "stop"),
        ("abcdef", ("",), 10, "abcdef", "stop"),
        ("答案是四", ("是",), 3, "答案", "stop"),
        ("", (), 5, "", "stop"),
    ],
)
def test_it_honours_max_tokens_and_stop_strings(text, stop, max_tokens, expected, reason):
    (sample,) = run(ScriptedEngine([text], token_stats=True), request(n=1, stop=stop, max_tokens=max_tokens))
    assert (sample.text, sample.finish_reason, sample.completion_tokens) == (expected, reason, len(expected))
    assert sample.stats is not None
    assert sample.stats.starts.tolist() == list(range(len(expected)))


@given(st.text(max_size=30), st.integers(0, 2**63 - 1))
def test_statistics_obey_the_laws_of_a_distribution(text, seed):
    stats = random_stats(text, seed)
    size = stats.vocab_size
    assert stats.values.shape == (len(text), 9)
    assert stats.values.dtype == np.float32
    logp, lp1, lp2 = stats.column("logp"), stats.column("lp1"), stats.column("lp2")
    assert np.all(logp <= lp1)
    assert np.all(lp2 <= lp1)
    assert np.all((stats.column("rank") == 1) == (logp == lp1))
    assert np.all((stats.column("rank") >= 1) & (stats.column("rank") <= size))
    assert np.all((stats.column("entropy") >= 0) & (stats.column("entropy") <= np.log(size)))
    assert np.all(stats.column("mean_logp") <= -np.log(size))  # self-certainty is never negative
    assert np.all((stats.column("sum_p2") >= np.exp(lp1) ** 2 - 1e-6) & (stats.column("sum_p2") <= np.exp(lp1) + 1e-6))
    assert np.all(stats.column("sum_top5") <= lp1 + lp2)
    assert np.all(stats.column("sum_top20") <= stats.column("sum_top5"))
    assert np.all(stats.column("sum_top20") >= size * stats.column("mean_logp"))
    assert np.array_equal(stats.values, random_stats(text, seed).values)


def test_neighbours_delays_and_concurrency_change_nothing():
    def answer(r: Request, d: Draw) -> str:
        return f"{r.problem_id} {d.seed}"

    requests = [request(f"p{number}") for number in range(5)]
    quick = by_index(run(ScriptedEngine(answer, token_stats=True), *requests))
    slow = by_index(run(ScriptedEngine(answer, token_stats=True, delay=0.002, max_draws_in_flight=4), *reversed(requests)))
    assert [s.to_json() for s in quick] == [s.to_json() for s in slow]
    assert all(a.stats and b.stats and np.array_equal(a.stats.values, b.stats.values) for a, b in zip(quick, slow, strict=True))


def test_delays_change_the_order_of_arrival():
    samples = run(ScriptedEngine(["x"], delay=lambda draw: 0.01 * (3 - draw.index)), request(n=3))
    assert [s.index for s in samples] == [2, 1, 0]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_draws_than_allowed_are_in_flight(limit):
    async def scenario() -> None:
        engine = ScriptedEngine(["x"], max_draws_in_flight=limit)

        async def endless():
            while True:
                yield request()

        async with aclosing(engine.stream(endless())) as stream:
            num_taken = 0
            async for _ in stream:
                num_taken += 1
                await asyncio.sleep(0.001)  # room to run ahead, if it could
                assert engine.num_draws <= num_taken - 1 + limit
                if num_taken == 20:
                    break

    asyncio.run(scenario())


def test_it_breaks_as_a_whole_when_told_to():
    taken = []

    async def scenario() -> None:
        async def feed():
            yield request(n=5)

        async for sample in ScriptedEngine(["x"], break_after=3).stream(feed()):
            taken.append(sample)  # noqa: PERF401 what came before the error counts

    with pytest.raises(EngineError, match="broke after 3 samples"):
        asyncio.run(scenario())
    assert len(taken) == 3


def test_what_a_script_or_the_requests_raise_is_not_swallowed():
    def script(_request: Request, _draw: Draw) -> str:
        raise KeyError("script")

    with pytest.raises(KeyError, match="script"):
        run(ScriptedEngine(script), request())

    async def scenario() -> None:
        async def feed():
            yield request()
            raise OSError("requests")

        async for _ in ScriptedEngine(["x"]).stream(feed()):
            pass

    with pytest.raises(OSError, match="requests"):
        asyncio.run(scenario())


def test_closing_early_leaves_nothing_running():
    async def scenario() -> None:
        async def feed():
            yield request(n=8)

        async with aclosing(ScriptedEngine(["x"], delay=lambda draw: draw.index * 10.0).stream(feed())) as stream:
            await anext(stream)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def stream_of(*items):
    async def feed():
        for item in items:
            yield item

    return feed()


def collected(stream):
    async def collect():
        return [item async for item in stream]

    return asyncio.run(collect())


def test_reading_gives_what_drawing_gave():
    engine = ScriptedEngine(["x + 1", "", Failure("engine", "no")], token_stats=True)
    assert isinstance(engine, Reader)
    drawn = by_index(run(engine, request()))
    bare = tuple(replace(sample, stats=None) for sample in drawn)
    read = by_index(collected(engine.read(stream_of(Reading(Prompt(()), bare)))))
    for before, after in zip(drawn, read, strict=True):
        assert after.to_json() == before.to_json()
        if before.error:
            assert after.stats is None
        else:
            assert np.array_equal(after.stats.values, before.stats.values)
    assert engine.num_read == 3


def test_opinions_are_of_the_text_so_far_or_as_told():
    parts = {"a": ("x", "y"), "b": ("x",), "c": ()}
    questions = [Question(key, "lead", texts, "tail", ("A", "B")) for key, texts in parts.items()]
    engine = ScriptedEngine([])
    first, second, third = collected(engine.ask(stream_of(questions[:1], questions[1:])))
    assert [v.key for v in (first, second, third)] == ["a", "b", "c"]
    assert [len(v.values) for v in (first, second, third)] == [2, 1, 0]
    assert all(0 <= value < 1 for value in first.values)
    assert first.values[0] != second.values[0]
    assert [first, second, third] == collected(engine.ask(stream_of(questions)))
    assert engine.num_questions == 6
    told = ScriptedEngine([], opinion=lambda q: Failure("engine", "no") if q.key == "b" else [0.5] * len(q.parts))
    assert collected(told.ask(stream_of(questions))) == [
        Verdict("a", (0.5, 0.5)), Verdict("b", (), Failure("engine", "no")), Verdict("c", ())
    ]  # fmt: skip


@given(st.text(alphabet="ab 好1\n", min_size=1, max_size=60), st.integers(0, 2**63 - 1))
def test_chains_obey_the_laws_of_distances_and_angles(text, seed):
    rows = random_chain(text, seed).values.astype(float)
    assert rows.shape == (1 + len(split_steps(text)), 8)
    lengths, angles, whole, whole_angle = rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7]
    assert np.all(lengths > 0)
    assert np.all((angles >= 0) & (angles <= np.pi + 1e-6))
    assert np.all(whole <= lengths.sum(1) + 1e-5)  # the straight way is the shortest
    assert np.all(whole_angle <= angles.sum(1) + 1e-5)
    assert np.array_equal(rows, random_chain(text, seed).values)


def test_chains_come_when_asked_for_in_drawing_and_in_reading():
    engine = ScriptedEngine(["Step 1: a\nStep 2: b", ""], hidden_states=True)
    first, empty = by_index(run(engine, request(n=2)))
    assert first.stats is None
    assert np.array_equal(first.chain.values, random_chain(first.text, first.seed).values)
    assert empty.chain is None

    async def feed():
        yield Reading(Prompt(()), (replace(first, chain=None),))

    async def collect():
        return [sample async for sample in engine.read(feed())]

    (read,) = asyncio.run(collect())
    assert np.array_equal(read.chain.values, first.chain.values)
    assert run(ScriptedEngine(["x"]), request(n=1))[0].chain is None


def test_whoever_listens_hears_the_beginnings_of_the_same_samples():
    engine = ScriptedEngine({"p": ["Step 1: 三加四\nThe answer is 7", "", "short"]}, token_stats=True, hidden_states=True)
    told: dict[int, list[str]] = {0: [], 1: [], 2: []}
    item = replace(request(), on_text=lambda draw, text: told[draw.index].append(text) or True)
    plain, heard = by_index(run(engine, request())), by_index(run(engine, item))
    for before, after in zip(plain, heard, strict=True):
        assert after.to_json() == before.to_json()
        np.testing.assert_array_equal(after.stats.values, before.stats.values)
    assert [texts[-1:] for texts in told.values()] == [[plain[0].text], [], ["short"]]
    assert all(plain[0].text.startswith(text) for text in told[0])
    assert len(told[0]) > 2


def test_a_listener_gives_a_draw_up():
    engine = ScriptedEngine(["Step 1: 1 + 1 = 2\nThe answer is 2"], token_stats=True, hidden_states=True)
    whole, *_ = by_index(run(engine, request()))
    cut, *others = by_index(run(engine, replace(request(), on_text=lambda draw, text: draw.index > 0 or len(text) < 10)))
    assert (cut.finish_reason, cut.text, cut.completion_tokens) == ("cut", whole.text[:16], 16)
    np.testing.assert_array_equal(cut.stats.values, whole.stats.values[:16])
    assert {sample.finish_reason for sample in others} == {"stop"}
