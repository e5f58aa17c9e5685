"""Adaptive sampling in the loop: exactly the samples that the rule needs are drawn, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import runs

from tamis.engines.scripted import ScriptedEngine
from tamis.engines.watch import tokens_until_cut
from tamis.errors import EngineError
from tamis.records import Failure, Pool, Sampling, Watch
from tamis.sample import Progress, Round, sample, sample_in_order
from tamis.select.stopping import AdaptiveConsistency, EarlyStopping
from tamis.store import RunFolder

SAMPLING = Sampling(n=12, temperature=0.7)
RULES = {"beta": AdaptiveConsistency(0.8), "windows": EarlyStopping(3)}


def opinion(request, draw):
    """One of few answers, by the seed: problems differ in how much their samples agree."""
    rng = random.Random(draw.seed)
    return "abc"[min(2, rng.randrange(1 + int(request.problem_id[1:]) % 4))] + "." * rng.randrange(20)


def sometimes(request, draw):
    return Failure("engine", "busy") if draw.seed % 5 == 0 else opinion(request, draw)


def clusters_of(pool: Pool) -> np.ndarray:
    return np.array([-1 if s.error or not s.text else "abc".index(s.text[0]) for s in pool.samples], dtype=int)


def by(rule, pause: float = 0.0):
    async def adaptive(pool: Pool) -> Round:
        assert [s.index for s in pool.samples] == list(range(len(pool.samples)))
        await asyncio.sleep(random.random() * pause)
        clusters = clusters_of(pool)
        return Round(rule.further(clusters, np.ones(len(clusters)), SAMPLING.n))

    return adaptive


def draw(folder, source, rule, *, engine=None, in_order=True, stop_after=None, pause=0.0, **options):
    """Run the loop; the pools as (id, texts), and the progress."""
    source, progress, seen = list(source), Progress(), []
    engine = engine or ScriptedEngine(opinion, token_stats=True)

    async def main() -> None:
        with RunFolder.open(folder, runs.config(SAMPLING)) as run:
            walk = sample_in_order if in_order else sample
            shared = {"prompt": runs.prompt, "progress": progress, "adaptive": by(rule, pause=pause), **options}
            stream = walk((lambda: source) if in_order else source, engine, SAMPLING, run, **shared)
            async with asyncio.timeout(30), aclosing(stream):
                async for pool in stream:
                    seen.append((pool.problem.id, tuple(s.text for s in pool.samples)))
                    if len(seen) == stop_after:
                        break

    asyncio.run(main())
    return seen, progress, engine


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All twelve samples of ten problems."""
    pools = []
    folder = tmp_path_factory.mktemp("all")
    runs.draw(folder, runs.problems(10), SAMPLING, engine=ScriptedEngine(opinion, token_stats=True), on_pool=pools.append)
    return {pool.problem.id: pool for pool in pools}, runs.contents(folder)


def needed(rule, pool: Pool) -> int:
    clusters = clusters_of(pool)
    return int(rule(clusters[None], np.zeros((1, len(clusters)))).num_paid[0])


@pytest.mark.parametrize("name", RULES)
def test_exactly_what_the_rule_needs_is_drawn(tmp_path, everything, name):
    pools, contents = everything
    rule = RULES[name]
    seen, progress, engine = draw(tmp_path, runs.problems(10), rule)
    lengths = {key: len(texts) for key, texts in seen}
    assert lengths == {key: needed(rule, pool) for key, pool in pools.items()}
    assert len(set(lengths.values())) > 1
    assert [key for key, _ in seen] == list(pools)
    assert engine.num_draws == sum(lengths.values()) == progress.samples_done
    drawn = runs.contents(tmp_path)
    assert len(drawn) == engine.num_draws
    assert drawn.items() <= contents.items()  # the same samples, bit for bit
    again, progress, engine = draw(tmp_path, runs.problems(10), rule)
    assert again == seen
    assert (engine.num_requests, progress.problems_skipped, progress.samples_reused) == (0, 10, len(drawn))


def test_pools_come_as_they_finish_and_finished_ones_not_again(tmp_path):
    seen, _, _ = draw(tmp_path, runs.problems(10), RULES["beta"], in_order=False)
    assert sorted(key for key, _ in seen) == sorted(f"p{number}" for number in range(10))
    assert draw(tmp_path, runs.problems(10), RULES["beta"], in_order=False)[0] == []


def test_what_another_rule_left_in_the_journal_is_used_in_order_and_no_more_of_it(tmp_path, everything):
    runs.draw(tmp_path, runs.problems(10), SAMPLING, engine=ScriptedEngine(opinion, token_stats=True))
    seen, _, engine = draw(tmp_path, runs.problems(10), RULES["beta"])
    assert engine.num_requests == 0
    assert {key: len(texts) for key, texts in seen} == {key: needed(RULES["beta"], pool) for key, pool in everything[0].items()}


def test_failed_samples_are_paid_for_and_do_not_vote(tmp_path):
    seen, progress, _ = draw(tmp_path, runs.problems(10), RULES["beta"], engine=ScriptedEngine(sometimes))
    assert progress.samples_failed > 0
    assert sum(len(texts) for _, texts in seen) == progress.samples_failed + progress.samples_done
    again, progress, engine = draw(tmp_path, runs.problems(10), RULES["beta"], engine=ScriptedEngine(sometimes))
    assert again == seen
    assert engine.num_draws == progress.samples_failed  # owed again, and failed again
    healed, _, _ = draw(tmp_path, runs.problems(10), RULES["beta"])
    assert healed == draw(tmp_path / "calm", runs.problems(10), RULES["beta"])[0]


def test_at_most_so_many_problems_are_under_way(tmp_path):
    in_flight = []

    class Watched(ScriptedEngine):
        async def stream(self, requests):
            async def seen():
                async for request in requests:
                    in_flight.append(request.problem_id)
                    yield request

            async for item in super().stream(seen()):
                yield item

    draw(tmp_path, runs.problems(10), RULES["windows"], engine=Watched(opinion, delay=0.001), max_problems_in_flight=2)
    order = list(dict.fromkeys(in_flight))
    assert order == [f"p{number}" for number in range(10)]
    for place, key in enumerate(order):
        last = max(i for i, other in enumerate(in_flight) if other == key)
        assert len(set(in_flight[: last + 1])) <= place + 2  # the third after it opened only when it had all it needed


def test_a_rule_that_breaks_ends_the_run_after_what_is_in_flight(tmp_path):
    async def adaptive(pool: Pool) -> Round:
        if pool.problem.id == "p3" and pool.samples:
            raise ZeroDivisionError
        return Round(0 if pool.samples else 2)

    async def scenario() -> None:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine = ScriptedEngine(opinion)
            stream = sample(runs.problems(4), engine, SAMPLING, run, prompt=runs.prompt, progress=Progress(), adaptive=adaptive)
            with pytest.raises(ZeroDivisionError):
                async for _ in stream:
                    pass
            assert run.num_finished == 8
            assert asyncio.all_tasks() == {asyncio.current_task()}

    runs.run_async(scenario())


def test_an_engine_that_breaks_keeps_what_it_drew(tmp_path):
    with pytest.raises(EngineError):
        draw(tmp_path, runs.problems(10), RULES["beta"], engine=ScriptedEngine(opinion, token_stats=True, break_after=13))
    assert len(runs.contents(tmp_path)) == 13
    assert draw(tmp_path, runs.problems(10), RULES["beta"])[0] == draw(tmp_path / "calm", runs.problems(10), RULES["beta"])[0]


class Ending(ScriptedEngine):
    """Takes three requests, answers them, and ends."""

    async def stream(self, requests):
        async def few():
            for _ in range(3):
                yield await anext(requests)

        async for item in super().stream(few()):
            yield item


def test_an_engine_that_ends_early_leaves_failures_and_no_hang(tmp_path):
    seen, progress, _ = draw(tmp_path, runs.problems(3), RULES["beta"], engine=Ending(opinion))
    assert len(seen) == 3
    assert progress.samples_failed > 0


def test_two_of_the_same_problem_are_drawn_once(tmp_path):
    twice = [*runs.problems(2), *runs.problems(2)]
    engine = ScriptedEngine(sometimes, delay=0.001)
    seen, progress, _ = draw(tmp_path, twice, RULES["windows"], engine=engine)
    assert seen[:2] == seen[2:]
    assert engine.num_draws == sum(len(texts) for _, texts in seen[:2])
    assert progress.samples_failed > 0 == progress.samples_damaged


def test_a_watch_reaches_the_engine_and_cuts(tmp_path):
    watch = Watch(4, 5.3)

    async def adaptive(pool: Pool) -> Round:
        return Round(3, watch if pool.samples else None) if len(pool.samples) < 9 else Round(0)

    async def main() -> list[Pool]:
        with RunFolder.open(tmp_path, runs.config(SAMPLING)) as run:
            engine = ScriptedEngine(opinion, token_stats=True)
            options = {"prompt": runs.prompt, "progress": Progress(), "adaptive": adaptive}
            return [pool async for pool in sample(runs.problems(6), engine, SAMPLING, run, **options)]

    pools = asyncio.run(main())
    plain = []
    runs.draw(
        tmp_path / "plain",
        runs.problems(6),
        replace(SAMPLING, n=9),
        engine=ScriptedEngine(opinion, token_stats=True),
        on_pool=plain.append,
    )
    whole = {s.key: s for pool in plain for s in pool.samples}
    reasons = Counter()
    for item in (s for pool in pools for s in pool.samples):
        reasons[item.finish_reason] += 1
        length = tokens_until_cut(whole[item.key].stats, watch) if item.index >= 3 else None
        assert item.finish_reason == ("cut" if length else "stop")
        assert item.text == whole[item.key].text[:length]
        assert item.completion_tokens == len(item.stats) == len(item.text)
        assert np.array_equal(item.stats.values, whole[item.key].stats.values[:length])
    assert min(reasons["cut"], reasons["stop"]) > 3


@settings(max_examples=40)
@given(data=st.data())
def test_the_samples_needed_never_depend_on_how_the_run_went(tmp_path_factory, data):
    """Order, concurrency, delays, faults, kills and torn files: at the end the same pools, and nothing drawn beyond them."""
    folder = tmp_path_factory.mktemp("run")
    source = list(runs.problems(data.draw(st.integers(1, 6), "problems")))
    rule = RULES[data.draw(st.sampled_from(sorted(RULES)), "rule")]
    calm, _, _ = draw(folder / "calm", source, rule)
    for _ in range(data.draw(st.integers(0, 3), "lives")):
        RunFolder.open(folder / "rough", runs.config(SAMPLING)).close()
        repaired = (folder / "rough" / "samples.jsonl").stat().st_size
        jitter = random.Random(data.draw(st.integers(0, 99), "jitter"))
        delays = [jitter.random() / 1000 for _ in range(7)]
        engine = ScriptedEngine(
            opinion,
            token_stats=True,
            delay=lambda draw, delays=delays: delays[draw.seed % 7],
            max_draws_in_flight=data.draw(st.integers(1, 9), "draws in flight"),
        )
        draw(
            folder / "rough",
            data.draw(st.permutations(source), "order"),
            rule,
            engine=engine,
            in_order=data.draw(st.booleans(), "in order"),
            stop_after=data.draw(st.integers(1, 6), "pools"),
            max_problems_in_flight=data.draw(st.integers(1, 4), "problems in flight"),
            pause=0.001,
        )
        for name, start in (("samples.jsonl", repaired), ("tokens.bin", 0)):
            path = folder / "rough" / name
            os.truncate(path, max(start, path.stat().st_size - data.draw(st.integers(0, 2000), name)))
    rough, _, _ = draw(folder / "rough", source, rule)
    assert rough == calm
    assert runs.contents(folder / "rough") == runs.contents(folder / "calm")
