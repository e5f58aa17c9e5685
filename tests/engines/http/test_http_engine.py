from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from engines.http.requests import collect, request, run

from tamis.config import ScoreSettings
from tamis.engines import open_engine
from tamis.engines.base import Engine
from tamis.engines.http import HTTPEngine
from tamis.engines.scripted import random_stats
from tamis.engines.scripted_faults import KINDS
from tamis.engines.scripted_server import Faults, ScriptedServer, numbers
from tamis.errors import EngineError, UsageError
from tamis.records import STATISTICS, Failure, Grade, Message, Pool, Problem, Prompt, Watch
from tamis.score.registry import FREE, score_pool

KNOWN = [STATISTICS.index(name) for name in ("logp", "lp1", "lp2", "sum_top5", "sum_top20")]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def engine_of(server: ScriptedServer, **options) -> HTTPEngine:
    return HTTPEngine(server.model, base_urls=[server.base_url], **{"start_s": 3.0, **options})


def text_of(item, draw) -> str:
    return numbers(item.prompt.text, draw.seed)


def test_a_draw_gives_what_its_request_and_seed_give():
    requests = [request("a", 3), request("b", 2), request("c", raw=True)]
    with ScriptedServer() as server:
        engine = engine_of(server)
        assert isinstance(engine, Engine)
        first, second = run(engine, *requests), run(engine, *reversed(requests))
    assert [s.text for s in first] == [text_of(r, d) for r in requests for d in r.draws] == [s.text for s in second]
    assert [(s.key, s.seed) for s in first] == [(d.key, d.seed) for r in requests for d in r.draws]
    assert all(s.completion_tokens == len(s.text) and s.finish_reason == "stop" for s in first)


def test_it_opens_by_name():
    with ScriptedServer(key="k") as server:
        engine = open_engine("http", "scripted", base_urls=[server.base_url], api_key="k", token_stats=False)
        assert engine.describe() == {"engine": "http", "model": "scripted", "base_urls": [server.base_url]}
        assert run(engine, request())[0].text
    with pytest.raises(UsageError, match="hidden states"):
        open_engine("http", "m", base_urls=["h"], hidden_states=True)


def test_several_draws_in_one_request_where_the_server_honours_n():
    with ScriptedServer() as server:
        samples = run(engine_of(server, several=True, token_stats=False), request("a", 5))
        assert [body.get("n") for body in server.counts.bodies] == [2, 5]
    assert [s.text for s in samples] == [text_of(request("a"), s) for s in samples]  # this server's seeds rise by 1
    with ScriptedServer(faults=Faults(ignored=("n",))) as server:
        samples = run(engine_of(server, several=True, token_stats=False), request("a", 5))
        assert [body.get("n") for body in server.counts.bodies] == [2, *[None] * 5]
    assert [s.text for s in samples] == [text_of(request("a"), s) for s in samples]


@pytest.mark.parametrize("raw", [False, True])
def test_statistics_are_exact_or_missing_and_scores_undefined(raw):
    with ScriptedServer() as server:
        samples = run(engine_of(server), request("a", 4, raw=raw))
    for sample in samples:
        whole = random_stats(sample.text, sample.seed)
        np.testing.assert_allclose(sample.stats.values[:, KNOWN], whole.values[:, KNOWN], rtol=1e-5)
        rank, true_rank = sample.stats.column("rank"), whole.column("rank")
        np.testing.assert_array_equal(np.isnan(rank), true_rank > 20)
        np.testing.assert_array_equal(rank[true_rank <= 20], true_rank[true_rank <= 20])
        np.testing.assert_array_equal(sample.stats.starts, whole.starts)
    pool = Pool(Problem("a"), tuple(samples), tuple(Grade(s.key, "1", True) for s in samples))
    whole = Pool(Problem("a"), tuple(replace(s, stats=random_stats(s.text, s.seed)) for s in samples), pool.grades)
    scores, exact = score_pool(pool)[0], score_pool(whole)[0]
    told = {name for name in FREE if scores[name][0] is not None}
    assert {"logprob", "sum-logprob", "max-prob", "margin", "cot-decoding", "deepconf", "deepconf-lowest"} <= told
    assert not told & {"mean-self-certainty", "neg-entropy", "neg-dp", "gini", "infer", "self-certainty", "entropy"}
    for name in told:
        assert scores[name] == pytest.approx(exact[name], rel=1e-5)
    normalised = score_pool(pool, ["infer"], ScoreSettings(normalize="zscore"))[1]
    assert {(score.value, score.reason) for score in normalised} == {(None, "undefined")}


def test_a_server_without_log_probabilities_gives_samples_without_statistics():
    with ScriptedServer(faults=Faults(ignored=("logprobs", "top_logprobs"))) as server:
        samples = run(engine_of(server), request("a", 2))
    assert all(s.stats is None and s.text and not s.error for s in samples)


def test_a_watched_sample_is_cut():
    with ScriptedServer() as server:
        (sample,) = run(engine_of(server), request("a", watch=Watch(4, np.inf)))
    assert sample.finish_reason == "cut"
    assert len(sample.stats) == sample.completion_tokens == len(sample.text) == 4


def test_fields_that_a_model_refuses_are_left_out_from_then_on():
    refused = Faults(refused=("temperature", "max_tokens"))
    with ScriptedServer(faults=refused) as server:
        samples = run(engine_of(server, concurrency=4), *(request(f"p{i}", temperature=0.5, max_tokens=20) for i in range(20)))
        assert not any(s.error for s in samples)
        last = server.counts.bodies[-1]
        assert "temperature" not in last
        assert last["max_completion_tokens"] == 20
        assert server.counts.by_status[400] <= 12
    with ScriptedServer(faults=Faults(refused=("top_k",))) as server:  # leaving this out would draw something else
        (sample,) = run(engine_of(server), request(top_k=5))
    assert sample.error.boundary == "engine"
    assert "top_k" in sample.error.message


def test_an_image_is_encoded_once_and_a_bad_one_fails_its_draws_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(b"<html>")
    with ScriptedServer() as server:
        engine = engine_of(server)
        good, bad = request("a", 6, images=[str(tmp_path / "a.png")]), request("b", 2, images=[str(tmp_path / "b.png")])
        samples = run(engine, good, bad, request("c", images=["gone.png"]))
        assert sum(server.counts.images.values()) == 6
        assert server.counts.bodies[-1]["messages"][0]["content"][0]["image_url"]["url"].endswith(
            base64.b64encode(PNG).decode()
        )
    assert engine.images.num_encoded == 1
    assert [s.error.boundary if s.error else None for s in samples] == [None] * 6 + ["input"] * 3


def test_every_sample_exactly_once_whatever_fails():
    """94 % of all answers are faults of one of 13 kinds."""
    requests = [request(f"p{i:03}", 5) for i in range(100)]
    faults = Faults.of_every_kind(0.2, retry_after_s=0.01, slow_s=0.05)

    async def draw():
        async with ScriptedServer(faults=faults) as server:
            engine = engine_of(server, retries=1000, idle_s=0.3, token_stats=False)
            return await collect(engine, *requests), server.counts

    samples, counts = asyncio.run(draw())
    assert set(counts.by_fault) == set(KINDS)
    assert [(s.key, s.text) for s in samples] == [(d.key, text_of(r, d)) for r in requests for d in r.draws]


def test_after_the_last_attempt_a_sample_fails_and_a_429_is_no_attempt():
    with ScriptedServer(faults=Faults(torn_json=1.0)) as server:
        samples = run(engine_of(server, retries=2, token_stats=False), request("a", 2))
        assert server.counts.num_requests == 6
    assert {s.error for s in samples} == {Failure("engine", "the server answers with broken JSON")}
    with ScriptedServer(faults=Faults(limited=0.8, retry_after_s=0.001)) as server:
        samples = run(engine_of(server, retries=0, token_stats=False), request("a", 40))
        assert server.counts.by_status[429] > 40
    assert not any(s.error for s in samples)


def test_a_prompt_that_cannot_be_sent_fails_alone():
    bad = replace(request("a"), prompt=Prompt((Message("user", "\ud83d"),)))
    with ScriptedServer() as server:
        samples = run(engine_of(server), bad, request("b"))
    assert [bool(s.error) for s in samples] == [True, False]
    assert "Unicode" in samples[0].error.message


def test_a_wrong_key_and_an_unknown_model_end_the_run_in_one_line():
    with ScriptedServer(key="sk-right") as server:
        with pytest.raises(EngineError, match="does not accept the API key") as error:
            run(engine_of(server, api_key="sk-wrong"), request())
        assert "sk-" not in str(error.value)
        engine = engine_of(server, api_key="sk-right")
        assert not run(engine, request())[0].error
        assert "sk-" not in repr(engine.describe())
        with pytest.raises(EngineError, match="It has: scripted"):
            run(HTTPEngine("other", base_urls=[server.base_url], api_key="sk-right"), request())


def test_a_server_that_dies_comes_back_and_loses_nothing():
    async def draw():
        server = ScriptedServer(faults=Faults(latency_s=0.01))
        requests = [request(f"p{i:02}", 4) for i in range(25)]
        num_seen, keys = 0, []

        async def feed():
            for item in requests:
                yield item

        async with ScriptedServer(faults=Faults(latency_s=0.01)) as other:
            await server.__aenter__()
            urls = [server.base_url, other.base_url]
            engine = HTTPEngine("scripted", base_urls=urls, concurrency=2, retries=50, token_stats=False)
            async with aclosing(engine.stream(feed())) as samples:
                async for sample in samples:
                    keys.append(sample.key)
                    assert not sample.error
                    num_seen += 1
                    if num_seen == 20:
                        await server.__aexit__()
                    if num_seen == 60:
                        await server.__aenter__()
            await server.__aexit__()
            assert server.counts.num_requests > 0
            assert other.counts.num_requests > 0
        return sorted(keys), sorted(d.key for r in requests for d in r.draws)

    got, owed = asyncio.run(draw())
    assert got == owed


def test_no_server_at_all_is_an_engine_error():
    server = ScriptedServer()
    with server:
        url = server.base_url
    with pytest.raises(EngineError, match="no server answers"):
        run(HTTPEngine("m", base_urls=[url], start_s=0.0), request())
    assert run(HTTPEngine("m", base_urls=[url])) == []  # nothing asked, nothing wrong


def test_an_abandoned_stream_leaves_nothing_behind():
    async def draw():
        async def feed():
            for i in range(10**6):
                yield request(f"p{i}")

        async with ScriptedServer() as server:
            async with aclosing(engine_of(server, concurrency=3, token_stats=False).stream(feed())) as samples:
                async for _ in samples:
                    break
            assert server.counts.max_in_flight <= 3
            return asyncio.all_tasks()

    assert len(asyncio.run(draw())) <= 2  # this one, and the server's
