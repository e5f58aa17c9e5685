from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
from collections import Counter
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest

from tamis.engines.scripted import random_stats
from tamis.engines.scripted_faults import KINDS
from tamis.engines.scripted_server import Faults, ScriptedServer
from tamis.errors import UsageError

PIXEL = b"not really a PNG"


def body(prompt="1 + 1?", **options):
    return {"model": "scripted", "messages": [{"role": "user", "content": prompt}], **options}


@asynccontextmanager
async def client(server):
    async with aiohttp.ClientSession() as session:

        async def post(row, path="/chat/completions", **options):
            async with session.post(server.base_url + path, json=row, **options) as response:
                return response.status, dict(response.headers), await response.text()

        yield post


def ask(server, *rows, **options):
    """Status, headers and text of each answer, one after the other."""

    async def work():
        async with server, client(server) as post:
            return [await post(row, **options) for row in rows]

    return asyncio.run(work())


def choices(answer):
    status, _, text = answer
    assert status == 200, text
    return json.loads(text)["choices"]


def test_what_is_said_depends_on_prompt_and_seed_alone():
    one, other = ScriptedServer(), ScriptedServer()
    four = choices(ask(one, body(n=4, seed=7))[0])
    single = [choices(answer)[0] for answer in ask(other, *(body(seed=7 + i) for i in (3, 1, 0, 2)))]
    texts = [choice["message"]["content"] for choice in four]
    assert len(set(texts)) == 4
    assert [choice["index"] for choice in four] == [0, 1, 2, 3]
    assert [texts[i] for i in (3, 1, 0, 2)] == [choice["message"]["content"] for choice in single]
    unseeded = [choices(answer)[0]["message"]["content"] for answer in ask(one, *[body()] * 3)]
    assert len(set(unseeded)) == 3


def test_limits_and_usage():
    server = ScriptedServer({"1 + 1": ["abc\nSTOP def"]})
    long, stopped, whole = ask(server, body(max_tokens=2), body(stop="STOP", n=2), body(max_completion_tokens=50))
    assert [(c["message"]["content"], c["finish_reason"]) for c in choices(long)] == [("ab", "length")]
    assert [(c["message"]["content"], c["finish_reason"]) for c in choices(stopped)] == [("abc\n", "stop")] * 2
    assert json.loads(stopped[2])["usage"] == {"prompt_tokens": 6, "completion_tokens": 8, "total_tokens": 14}
    assert choices(whole)[0]["message"]["content"] == "abc\nSTOP def"


@pytest.mark.parametrize("chat", [True, False])
def test_logprobs_are_of_one_softmax(chat):
    server = ScriptedServer(["a\u00e9\U0001f600b"])
    if chat:
        answer = ask(server, body(seed=3, logprobs=True, top_logprobs=20))[0]
        rows = choices(answer)[0]["logprobs"]["content"]
        assert [bytes(row["bytes"]).decode() for row in rows] == list("a\u00e9\U0001f600b")
        chosen = [row["logprob"] for row in rows]
        tops = [[entry["logprob"] for entry in row["top_logprobs"]] for row in rows]
    else:
        row = {"model": "scripted", "prompt": "1 + 1?", "seed": 3, "logprobs": 20}
        found = choices(ask(server, row, path="/completions")[0])[0]["logprobs"]
        assert found["text_offset"] == [0, 1, 2, 3]
        chosen, tops = found["token_logprobs"], [list(top.values()) for top in found["top_logprobs"]]
    stats = random_stats("a\u00e9\U0001f600b", 3)
    np.testing.assert_allclose(chosen, stats.column("logp"), rtol=1e-6)
    np.testing.assert_allclose([sum(top) for top in tops], stats.column("sum_top20"), rtol=1e-6)
    assert all(len(top) == 20 and top == sorted(top, reverse=True) and sum(map(math.exp, top)) < 1 for top in tops)


def test_a_stream_says_the_same():
    asked = body(n=3, seed=5, logprobs=True, top_logprobs=2)
    plain, streamed = ask(ScriptedServer(), asked, asked | {"stream": True, "stream_options": {"include_usage": True}})
    lines = [line.removeprefix("data: ") for line in streamed[2].split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    events = [json.loads(line) for line in lines]
    assert events.pop()["usage"] == json.loads(plain[2])["usage"]
    for whole in choices(plain):
        own = [c for event in events for c in event["choices"] if c["index"] == whole["index"]]
        assert "".join(c["delta"]["content"] for c in own) == whole["message"]["content"]
        assert [c["finish_reason"] for c in own] == [None] * (len(own) - 1) + ["stop"]
        assert [row for c in own for row in c["logprobs"]["content"]] == whole["logprobs"]["content"]


def test_images_and_requests_are_counted():
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    server = ScriptedServer()
    ask(server, body(parts, n=4), body(parts), body("hello"))
    assert server.counts.images == {hashlib.sha256(PIXEL).hexdigest(): 2}
    assert server.counts.by_prompt == {"what?": 2, "hello": 1}
    assert (server.counts.num_requests, server.counts.by_status) == (3, {200: 3})
    assert server.counts.bodies[0]["n"] == 4


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        (body() | {"model": "other"}, 404, "model_not_found"),
        ({"model": "scripted"}, 400, None),
        (body([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]), 400, None),
        (body(n=0), 400, None),
        (body(logprobs=True, top_logprobs=21), 400, None),
        (body(max_tokens=5), 400, "unsupported_parameter"),
        (body(temperature=0.5), 400, "unsupported_value"),
        ([], 400, None),
    ],
)
def test_what_is_refused(row, status, code):
    server = ScriptedServer(faults=Faults(refused=("temperature", "max_tokens")))
    [(found, _, text)] = ask(server, row)
    assert found == status
    assert json.loads(text)["error"]["code"] == code


def test_a_key_is_needed_where_one_is_set():
    server = ScriptedServer(key="sk-secret")
    [(status, _, text)] = ask(server, body(), headers={"Authorization": "Bearer sk-other"})
    assert (status, json.loads(text)["error"]["code"]) == (401, "invalid_api_key")
    assert "sk-" not in text
    [(status, _, _)] = ask(server, body(), headers={"Authorization": "Bearer sk-secret"})
    assert status == 200


def test_what_is_ignored_has_no_effect():
    server = ScriptedServer(faults=Faults(ignored=("n", "seed", "logprobs")))
    first, second = (choices(answer) for answer in ask(server, *[body(n=4, seed=1, logprobs=True)] * 2))
    assert len(first) == len(second) == 1
    assert first[0]["message"] != second[0]["message"]
    assert first[0]["logprobs"] is None


def fault(kind, row=None, **options):
    """The first answer of a server on which everything goes wrong in one way, or the error that comes instead."""
    server = ScriptedServer(faults=Faults(**{kind: 1.0}, **options))
    try:
        answer = ask(server, row or body(n=2), timeout=aiohttp.ClientTimeout(total=0.2 if "hang" in kind else None))[0]
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        answer = error
    assert server.counts.by_fault == {kind: 1}
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_is_what_it_is_called(stream):
    row = body(n=2, stream=stream)
    status, headers, _ = fault("limited", row, retry_after_s=3)
    assert (status, headers["Retry-After"]) == (429, "3")
    status, headers, _ = fault("limited_bare", row)
    assert status == 429
    assert "Retry-After" not in headers
    assert [fault(kind, row)[0] for kind in ("error_500", "error_503", "html_502", "html_200")] == [500, 503, 502, 200]
    assert "<html" in fault("html_200", row)[2]
    assert isinstance(fault("reset", row), aiohttp.ClientError)
    assert isinstance(fault("reset_midway", row), (aiohttp.ClientError, ConnectionError))
    assert isinstance(fault("hang", row), TimeoutError)
    assert isinstance(fault("hang_midway", row), TimeoutError)
    assert "crashed" in fault("error_midway", row)[2].splitlines()[-2 if stream else -1]
    assert fault("slow_body", row, slow_s=0.05)[2].count('"index"') == (2 if not stream else fault_free_chunks(row))
    assert "choices" not in json.loads(fault("no_choices", row)[2])
    torn = fault("torn_json", row)
    assert torn[0] == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn[2])
    if stream:
        assert fault("duplicate_choices", row)[2].count('"finish_reason":"stop"') == 3
    else:
        assert [choice["index"] for choice in choices(fault("duplicate_choices", row))] == [0, 1, 0]


def fault_free_chunks(row):
    return ask(ScriptedServer(), row)[0][2].count('"index"')


def test_faults_are_drawn_from_content_and_attempt():
    faults = Faults.of_every_kind(0.2, seed=4)
    drawn = [faults.draw(content, attempt) for content in ("a", "b") for attempt in range(500)]
    assert drawn == [faults.draw(content, attempt) for content in ("a", "b") for attempt in range(500)]
    seen = Counter(kind for kind, _ in drawn)
    assert seen.keys() == {*KINDS, None}
    assert 0.015 < seen[None] / 1000 < 0.06  # 0.8 ** 15 is 0.035
    assert {kind for kind, _ in (Faults(reset=1).draw(str(i), 0) for i in range(20))} == {"reset"}
    assert {kind for kind, _ in (Faults().draw(str(i), 0) for i in range(20))} == {None}
    with pytest.raises(UsageError, match="hang"):
        Faults(hang=1.5)


def test_in_a_thread_and_again_on_the_same_port():
    server = ScriptedServer()

    async def work():
        async with client(server) as post:
            return (await post(body()))[0]

    with server:
        port = server.port
        assert asyncio.run(work()) == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        asyncio.run(work())
    with server:
        assert server.port == port
        assert asyncio.run(work()) == 200
    assert server.counts.num_requests == 2


def test_models_and_half_a_surrogate_pair():
    server = ScriptedServer(["\ud800 \u0000 </script>"])

    async def work():
        async with server, client(server) as post:
            said = await post(body())
            async with aiohttp.ClientSession() as session, session.get(server.base_url + "/models") as response:
                return await response.json(), said

    models, answer = asyncio.run(work())
    assert [row["id"] for row in models["data"]] == ["scripted"]
    assert choices(answer)[0]["message"]["content"] == "\ud800 \u0000 </script>"
