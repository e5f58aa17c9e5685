from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace

import pytest
from sample import runs

from tamis.engines.scripted import ScriptedEngine
from tamis.errors import EngineError, InputError, RunFolderError
from tamis.identity import sample_keys, sample_seed
from tamis.records import Failure, Problem, Sampling
from tamis.sample import LazyEngine, Progress, pools, sample, sample_in_order
from tamis.store import RunFolder

SAMPLING = Sampling(n=3, temperature=0.7, seed=5)


def test_every_problem_comes_once_with_its_samples_in_order(tmp_path):
    seen = []
    progress = runs.draw(tmp_path, runs.problems(20), SAMPLING, on_pool=seen.append)
    assert sorted(pool.problem.id for pool in seen) == sorted(f"p{number}" for number in range(20))
    for pool in seen:
        assert [s.index for s in pool.samples] == [0, 1, 2]
        assert [s.key for s in pool.samples] == sample_keys(pool.problem.id, runs.prompt(pool.problem), SAMPLING, range(3))
        assert [s.seed for s in pool.samples] == [sample_seed(5, pool.problem.id, index) for index in range(3)]
        assert all(s.stats is not None for s in pool.samples)
    assert (progress.problems_seen, progress.problems_finished, progress.problems_skipped) == (20, 20, 0)
    assert (progress.samples_done, progress.samples_reused, progress.samples_failed) == (60, 0, 0)
    assert progress.tokens == sum(s.completion_tokens for pool in seen for s in pool.samples)


def test_pools_come_as_they_finish_not_in_order(tmp_path):
    first = sample_seed(SAMPLING.seed, "p0", 0)
    seen = []
    engine = ScriptedEngine(runs.answer, delay=lambda draw: 0.05 if draw.seed == first else 0.0)
    runs.draw(tmp_path, runs.problems(4), SAMPLING, engine=engine, on_pool=lambda pool: seen.append(pool.problem.id))
    assert seen[-1] == "p0"


def test_a_sample_is_in_the_journal_before_its_problem_is_finished(tmp_path):
    engine = ScriptedEngine(runs.answer, delay=lambda draw: 60.0 if draw.index == 2 else 0.0)

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            stream = sample(runs.problems(4), engine, SAMPLING, run, prompt=runs.prompt, progress=Progress())
            waiting = asyncio.create_task(anext(stream))
            while run.num_finished < 8:
                await asyncio.sleep(0.001)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert asyncio.all_tasks() == {asyncio.current_task()}

    runs.run_async(scenario())
    assert len(runs.contents(tmp_path)) == 8


def test_a_slow_caller_holds_the_engine_back_but_not_the_journal(tmp_path):
    engine = ScriptedEngine(runs.answer)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            yield from runs.problems(1, start=taken)
            taken += 1

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            stream = sample(endless(), engine, SAMPLING, run, prompt=runs.prompt, progress=Progress(), max_problems_in_flight=4)
            async with aclosing(stream):
                for num_pools in range(1, 6):
                    await anext(stream)
                    await asyncio.sleep(0.02)
                    assert taken <= num_pools + 4
                    assert engine.num_draws <= 3 * (num_pools + 3)
                    assert run.num_finished == 3 * (num_pools + 3)  # all that may be drawn is drawn and kept

    runs.run_async(scenario())


def test_a_failed_sample_is_a_row_and_is_owed_again(tmp_path):
    seen = []
    progress = runs.draw(tmp_path, runs.problems(30), SAMPLING, engine=ScriptedEngine(runs.flaky), on_pool=seen.append)
    failed = [s.key for pool in seen for s in pool.samples if s.error]
    assert len(seen) == 30
    assert 0 < len(failed) < 90
    assert (progress.samples_failed, progress.samples_done) == (len(failed), 90 - len(failed))

    engine, again = ScriptedEngine(runs.answer), []
    progress = runs.draw(tmp_path, runs.problems(30), SAMPLING, engine=engine, on_pool=again.append)
    assert engine.num_draws == len(failed)
    assert (progress.samples_done, progress.samples_reused) == (len(failed), 90 - len(failed))
    assert {pool.problem.id for pool in again} == {pool.problem.id for pool in seen if any(s.error for s in pool.samples)}
    assert all(not s.error for pool in again for s in pool.samples)
    assert [s.index for s in again[0].samples] == [0, 1, 2]
    assert len(runs.contents(tmp_path)) == 90


class Misbehaving(ScriptedEngine):
    """Gives some samples twice, some never, and some that nobody asked for."""

    async def stream(self, requests):
        async for item in super().stream(requests):
            if item.index != 1:
                yield item
                yield item
            yield replace(item, key="00000000000000aa")


def test_an_engine_that_repeats_itself_and_forgets(tmp_path):
    seen = []
    progress = runs.draw(tmp_path, runs.problems(2), SAMPLING, engine=Misbehaving(runs.answer), on_pool=seen.append)
    assert len(seen) == 2
    for pool in seen:
        assert [s.error for s in pool.samples] == [None, Failure("engine", "the engine ended without this sample"), None]
        assert [(s.index, s.finish_reason) for s in pool.samples] == [(0, "stop"), (1, "error"), (2, "stop")]
    assert (progress.samples_done, progress.samples_failed, progress.samples_repeated) == (4, 2, 4 + 6)
    assert len(runs.contents(tmp_path)) == 6
    assert runs.draw(tmp_path, runs.problems(2), SAMPLING).samples_done == 2


def test_an_engine_that_breaks_keeps_what_it_had_finished(tmp_path):
    seen = []
    with pytest.raises(EngineError, match="broke after 10 samples"):
        runs.draw(
            tmp_path, runs.problems(20), SAMPLING, engine=ScriptedEngine(runs.answer, break_after=10), on_pool=seen.append
        )
    assert len(seen) >= 1
    assert len(runs.contents(tmp_path)) == 10
    assert runs.draw(tmp_path, runs.problems(20), SAMPLING).samples_done == 50


@pytest.mark.parametrize("where", ["problems", "prompt"])
def test_what_the_source_raises_comes_after_what_is_in_flight(tmp_path, where):
    def source():
        yield from runs.problems(5)
        if where == "problems":
            raise OSError("the disk is gone")
        yield Problem("bad", "")

    def prompt(problem):
        if not problem.prompt:
            raise OSError("the disk is gone")
        return runs.prompt(problem)

    seen = []

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine = ScriptedEngine(runs.answer, delay=0.002)
            stream = sample(source(), engine, SAMPLING, run, prompt=prompt, progress=Progress())
            async for pool in stream:
                seen.append(pool)  # noqa: PERF401 what came before the error counts

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(scenario())
    assert len(seen) == 5
    assert len(runs.contents(tmp_path)) == 15


def test_a_journal_that_cannot_be_written_ends_the_run(tmp_path, monkeypatch):
    def full(*_):
        raise RunFolderError("cannot write: no space")

    monkeypatch.setattr("tamis.store.folder.RunFolder.append", full)
    with pytest.raises(RunFolderError, match="no space"):
        runs.draw(tmp_path, runs.problems(5), SAMPLING)


def test_the_same_problem_twice_is_drawn_once(tmp_path):
    seen = []
    progress = runs.draw(tmp_path, [*runs.problems(3), *runs.problems(3)], SAMPLING, on_pool=seen.append)
    assert len(seen) == 3
    assert (progress.problems_seen, progress.problems_skipped, progress.samples_done) == (6, 3, 9)


def test_ctrl_c_closes_the_engine_and_leaves_the_journal_whole(tmp_path):
    """asyncio.run turns Ctrl-C into the cancellation of its main task."""
    closed = []

    class Watched(ScriptedEngine):
        async def stream(self, requests):
            try:
                async with aclosing(super().stream(requests)) as stream:
                    async for item in stream:
                        yield item
            finally:
                closed.append(True)

    engine = Watched(runs.answer, token_stats=True, delay=0.002)

    async def main() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            stream = sample(runs.problems(10_000), engine, SAMPLING, run, prompt=runs.prompt, progress=Progress())
            async with aclosing(stream):
                async for _ in stream:
                    pass

    async def interrupt() -> None:
        task = asyncio.create_task(main())
        while engine.num_draws < 50:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    runs.run_async(interrupt())
    assert closed == [True]
    done = runs.contents(tmp_path)
    assert len(done) >= 50 - 16
    progress = runs.draw(tmp_path, runs.problems(30), SAMPLING)
    assert progress.samples_reused == len(done)
    assert done.items() <= runs.contents(tmp_path).items()


def test_passing_over_finished_problems_lets_others_run(tmp_path):
    sampling = replace(SAMPLING, n=1)
    runs.draw(tmp_path, runs.problems(1000), sampling)
    progress = Progress()
    steps = []

    async def scenario() -> None:
        async def tick() -> None:
            while True:
                steps.append(progress.problems_seen)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        with RunFolder.open(tmp_path, runs.config(sampling)) as run:
            stream = sample(runs.problems(1000), ScriptedEngine([]), sampling, run, prompt=runs.prompt, progress=progress)
            assert [pool async for pool in stream] == []
        ticking.cancel()

    asyncio.run(scenario())
    assert progress.problems_skipped == progress.samples_reused == 1000
    assert any(0 < step < 1000 for step in steps)


def test_pools_walk_the_folder_in_order(tmp_path):
    runs.draw(tmp_path, runs.problems(10), SAMPLING, engine=ScriptedEngine(runs.flaky, token_stats=True, delay=0.001))
    fewer = [*runs.problems(3), Problem("new", "x"), *runs.problems(2, start=8)]
    with RunFolder.read(tmp_path) as run:
        found = list(pools(fewer, run, replace(SAMPLING, n=2), prompt=runs.prompt))
        assert [pool.problem.id for pool in found] == ["p0", "p1", "p2", "new", "p8", "p9"]
        assert [[s.index for s in pool.samples] for pool in found] == [[0, 1]] * 3 + [[]] + [[0, 1]] * 2
        whole = [s for pool in pools(runs.problems(10), run, SAMPLING, prompt=runs.prompt) for s in pool.samples]
    assert len(whole) == 30
    assert any(s.error for s in whole)
    assert all((s.stats is None) == bool(s.error) for s in whole)


def all_in_order(tmp_path, source, engine, sampling=SAMPLING, max_problems_in_flight=64):
    progress, found = Progress(), []

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            stream = sample_in_order(
                lambda: iter(source),
                engine,
                sampling,
                run,
                prompt=runs.prompt,
                progress=progress,
                max_problems_in_flight=max_problems_in_flight,
            )
            async with aclosing(stream):
                found.extend([pool async for pool in stream])

    runs.run_async(scenario())
    return progress, found


@pytest.mark.parametrize("old", [[], [0], [3, 4, 5], [7], [0, 2, 5, 7], list(range(8))])
def test_all_problems_in_order_old_and_new(tmp_path, old):
    source = list(runs.problems(8))
    runs.draw(tmp_path, [source[number] for number in old], SAMPLING)
    jitter = random.Random(1)
    engine = ScriptedEngine(runs.answer, token_stats=True, delay=lambda _: jitter.random() / 200)
    progress, found = all_in_order(tmp_path, source, engine, max_problems_in_flight=3)
    assert [pool.problem for pool in found] == source
    assert all([s.index for s in pool.samples] == [0, 1, 2] for pool in found)
    assert all(s.stats is not None for pool in found for s in pool.samples)
    assert engine.num_draws == progress.samples_done == 3 * (8 - len(old))
    assert progress.problems_skipped == len(old)


def test_in_order_the_same_problem_twice_comes_twice_and_is_drawn_once(tmp_path):
    source = [replace(problem, where=f"f:{line}") for line, problem in enumerate([*runs.problems(2), *runs.problems(3)])]
    progress, found = all_in_order(tmp_path, source, ScriptedEngine(runs.answer))
    assert [pool.problem for pool in found] == source
    assert all(len(pool.samples) == 3 for pool in found)
    assert progress.samples_done == 9


def test_in_order_one_slow_problem_holds_the_others_back(tmp_path):
    first = sample_seed(SAMPLING.seed, "p0", 0)
    engine = ScriptedEngine(runs.answer, delay=lambda draw: 0.3 if draw.seed == first else 0.0)

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            stream = sample(
                runs.problems(40),
                engine,
                SAMPLING,
                run,
                prompt=runs.prompt,
                progress=Progress(),
                max_problems_in_flight=4,
                in_order=True,
            )
            async with aclosing(stream):
                waiting = asyncio.create_task(anext(stream))
                while run.num_finished < 4 * 3 - 1:
                    await asyncio.sleep(0.001)
                assert engine.num_requests == 4
                assert not waiting.done()
                assert (await waiting).problem.id == "p0"
                assert [pool.problem.id async for pool in stream] == [f"p{number}" for number in range(1, 40)]

    runs.run_async(scenario())


def test_a_damaged_old_sample_is_drawn_again_with_its_problem(tmp_path):
    runs.draw(tmp_path, runs.problems(4), SAMPLING)
    before = runs.contents(tmp_path)
    data = bytearray((tmp_path / "tokens.bin").read_bytes())
    data[0] ^= 1  # in the first sample with tokens
    (tmp_path / "tokens.bin").write_bytes(data)
    progress = runs.draw(tmp_path, runs.problems(4), replace(SAMPLING, n=4))
    assert progress.samples_done == 5
    with RunFolder.read(tmp_path) as run:
        assert run.num_finished == 16
    assert before.items() <= runs.contents(tmp_path).items()


def test_nothing_owed_loads_no_model(tmp_path):
    opened = []

    def open_engine():
        opened.append(ScriptedEngine(runs.answer, token_stats=True))
        return opened[-1]

    engine = LazyEngine(open_engine)
    assert runs.draw(tmp_path, runs.problems(5), SAMPLING, engine=engine).samples_done == 15
    assert runs.draw(tmp_path, runs.problems(6), SAMPLING, engine=engine).samples_done == 3
    engine.close()
    assert len(opened) == 1
    engine = LazyEngine(open_engine)
    assert runs.draw(tmp_path, runs.problems(6), SAMPLING, engine=engine).samples_done == 0
    engine.close()
    assert len(opened) == 1
    assert engine.describe() == {"engine": "scripted"}


def test_in_order_a_long_stretch_of_finished_problems_lets_others_run(tmp_path):
    runs.draw(tmp_path, runs.problems(300), SAMPLING)
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def scenario():
        others = asyncio.create_task(count_turns())
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine, source = ScriptedEngine(runs.answer), lambda: runs.problems(300)
            walk = sample_in_order(source, engine, SAMPLING, run, prompt=runs.prompt, progress=Progress())
            assert len([pool async for pool in walk]) == 300
        others.cancel()

    runs.run_async(scenario())
    assert turns >= 300


def test_in_order_a_source_that_changes_meanwhile_is_an_error(tmp_path):
    walks = iter([runs.problems(3), runs.problems(3, start=1)])

    async def scenario():
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine = ScriptedEngine(runs.answer)
            walk = sample_in_order(lambda: next(walks), engine, SAMPLING, run, prompt=runs.prompt, progress=Progress())
            async for _ in walk:
                pass

    with pytest.raises(InputError, match="changed while they were read"):
        runs.run_async(scenario())


def test_in_order_a_damaged_sample_is_counted_and_drawn_by_the_next_run(tmp_path):
    runs.draw(tmp_path, runs.problems(4), SAMPLING)
    before = runs.contents(tmp_path)
    data = bytearray((tmp_path / "tokens.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "tokens.bin").write_bytes(data)
    damaged = []

    async def scenario():
        progress = Progress()
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine = ScriptedEngine(runs.answer, token_stats=True)
            source = lambda: runs.problems(4)  # noqa: E731
            walk = sample_in_order(source, engine, SAMPLING, run, prompt=runs.prompt, progress=progress)
            sizes = [len(pool.samples) async for pool in walk]
        damaged.append((progress.samples_damaged, sum(sizes)))

    runs.run_async(scenario())
    runs.run_async(scenario())
    assert damaged == [(1, 11), (0, 12)]
    assert runs.contents(tmp_path) == before
