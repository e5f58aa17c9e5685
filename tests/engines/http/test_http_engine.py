from __future__ import annotations

import asyncio
import base64
import struct
from contextlib import aclosing
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from engines.http.requests import collect, request, run

from tamis.config import ScoreSettings
from tamis.engines import open_engine
from tamis.engines.base import Engine
from tamis.engines.http import HTTPEngine
from tamis.engines.http.images import DataURLs
from tamis.engines.scripted import random_stats
from tamis.engines.scripted_server import Faults, ScriptedServer, numbers
from tamis.errors import EngineError, UsageError
from tamis.records import STATISTICS, Failure, Grade, Message, Pool, Problem, Prompt, Sample, Watch
from tamis.score.registry import FREE, score_pool

KNOWN = [STATISTICS.index(name) for name in ("logp", "lp1", "lp2", "sum_top5", "sum_top20")]
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII9s", 13, b"IHDR", 4, 3, b"") + struct.pack(">I4sI", 0, b"IEND", 0)


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


def test_the_seconds_of_a_sample_leave_out_what_it_waited_for_a_place():
    with ScriptedServer(faults=Faults(latency_s=0.05)) as server:
        samples = run(engine_of(server, concurrency=1), request("a", 12))
    in_turn = sum(s.seconds for s in samples)
    assert samples[-1].seconds < in_turn / 3  # the last of twelve one after another waited for all of the others


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


@pytest.mark.parametrize("names", [("temperature", "max_tokens", "logprobs", "seed", "top_p"), ("logprobs",), ("seed",)])
def test_a_sample_says_what_it_was_drawn_without(names, caplog):
    requests = [request(f"p{i}", temperature=0.5, max_tokens=20) for i in range(10)]
    with ScriptedServer(faults=Faults(refused=names)) as server:
        samples = run(engine_of(server), *requests)
        assert not set(names) & set(server.counts.bodies[-1]) - {"logprobs"}
    unsent = tuple(name for name in ("temperature", "top_p", "seed") if name in names)
    assert {(s.error, s.unsent, s.stats is None) for s in samples} == {(None, unsent, "logprobs" in names)}
    assert [Sample.from_json(s.to_json()).unsent for s in samples] == [unsent] * 10
    warnings = [record.message for record in caplog.records if "is left out of all requests" in record.message]
    assert len(warnings) == len(names) - ("max_tokens" in names)  # each once; max_tokens has another name


def test_a_schema_is_asked_for_until_the_server_refuses_it():
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    item = request("a", 3)
    asked = replace(item, prompt=replace(item.prompt, schema=schema))
    with ScriptedServer(['{"score": 3}']) as server:
        samples = run(engine_of(server, token_stats=False), asked, request("b"))
        forms = [body.get("response_format") for body in server.counts.bodies]
    assert forms.count(None) == 1
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    assert [form for form in forms if form] == [wanted] * 3
    assert {s.unsent for s in samples} == {()}
    with ScriptedServer(faults=Faults(refused=("response_format",))) as server:
        engine = engine_of(server, token_stats=False, concurrency=1)
        samples = run(engine, asked, request("b")) + run(engine, asked)
        assert server.counts.by_status[400] == 1
    assert [s.unsent for s in samples] == [("response_format",)] * 3 + [()] + [("response_format",)] * 3
    assert not any(s.error for s in samples)


def test_a_picture_that_is_too_large_or_torn_is_never_sent(tmp_path):
    bomb = PNG.replace(struct.pack(">II", 4, 3), struct.pack(">II", 60_000, 60_000))
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "torn.png").write_bytes(PNG[:-12])
    data_url = "data:image/png;base64," + base64.b64encode(bomb).decode()
    images = [str(tmp_path / "bomb.png"), str(tmp_path / "torn.png"), data_url, "data:image/png;base64,%"]
    with ScriptedServer() as server:
        samples = run(engine_of(server), *(request(f"p{i}", images=[image]) for i, image in enumerate(images)))
        assert server.counts.images == {}
    reasons = ["60000 x 60000 pixels", "has no end", "60000 x 60000 pixels", "no base64"]
    assert all(reason in s.error.message for s, reason in zip(samples, reasons, strict=True))
    assert all(len(s.error.message) < 200 and s.error.boundary == "input" for s in samples)


@pytest.mark.parametrize(("kind", "mode"), [("BMP", "RGB"), ("TIFF", "CMYK"), ("TIFF", "L")])
def test_pictures_of_rare_kinds_are_sent_as_png(tmp_path, kind, mode):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow makes them png")
    picture = pillow.new(mode, (5, 4), 77)
    picture.save(tmp_path / "a", kind)
    head, _, data = DataURLs().get(str(tmp_path / "a")).partition(";base64,")
    assert head == "data:image/png"
    sent = pillow.open(BytesIO(base64.b64decode(data)))
    assert list(sent.convert("RGB").tobytes()) == list(picture.convert("RGB").tobytes())


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


def test_a_server_that_fails_whatever_it_is_asked_uses_up_no_attempts(caplog):
    async def draw(*, heals: bool, **options):
        async with ScriptedServer(faults=Faults(error_500=1.0)) as server:
            engine = engine_of(server, token_stats=False, retries=3, **options)
            drawing = asyncio.create_task(collect(engine, *(request(f"p{i:03}", 5) for i in range(60))))
            while heals and not (caplog.records or drawing.done()):
                await asyncio.sleep(0.001)
            server.faults = Faults() if heals else server.faults
            return await drawing

    samples = asyncio.run(draw(heals=True))
    assert {s.error for s in samples} == {None}
    assert [record.message.partition("/v1")[2] for record in caplog.records] == [
        ": the server answers 500: The server had an error.; it is asked again from time to time",
        " answers again",
    ]
    with pytest.raises(EngineError, match=r"no server answers: .*: the server answers 500: The server had an error"):
        asyncio.run(draw(heals=False, give_up_s=0.3))


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
