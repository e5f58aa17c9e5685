"""Who is let in, how much may be asked, and what becomes of those who leave."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from serve.running import NAME, Running, user

from tamis.engines.scripted import ScriptedEngine
from tamis.errors import EngineError, UsageError
from tamis.serve.refusals import Refused
from tamis.serve.running import listen

NEVER = ScriptedEngine(["word " * 2000], delay=lambda _: 2000.0, max_draws_in_flight=64)  # a piece of 8 letters in 1.6 s


def post(running: Running, body: bytes | object, path: str = "/v1/chat/completions", **headers: str):
    """A bare request: status, headers, JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", running.service_port, timeout=60)
    try:
        connection.request("POST" if path.startswith("/v1/c") else "GET", path, data, headers)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, response.headers, json.loads(text) if text.startswith("{") else text
    finally:
        connection.close()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must come."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


CHAT = {"model": NAME, "messages": user("hi")}


def test_keys_are_asked_for_everywhere_but_by_who_looks_after_the_machine():
    with Running(ScriptedEngine(["7"]), keys=("one", "two-öther")) as running:
        for key in ("none", "on", "one ", "two"):
            status, headers, body = post(running, CHAT, Authorization=f"Bearer {key}x")
            assert (status, headers["WWW-Authenticate"], body["error"]["code"]) == (401, "Bearer", "invalid_api_key")
        assert post(running, CHAT)[0] == post(running, b"", "/v1/models")[0] == post(running, b"", "/metrics")[0] == 401
        assert post(running, CHAT, Authorization="Basic one")[0] == 401
        assert post(running, b"", "/openapi.json")[0] == 401
        assert post(running, b"", "/healthz")[2] == {"status": "ok"}
        with running.client("one") as client:
            assert client.chat.completions.create(**CHAT).choices[0].message.content == "7"
        with running.client("three") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_only_loopback_is_open_without_a_key():
    with Running(ScriptedEngine(["7"])) as running:
        for host in ("0.0.0.0", "::", "example.com"):
            with pytest.raises(UsageError, match="without a key"):
                listen(type(running.serving)(model=NAME, host=host))
        with pytest.raises(UsageError, match="cannot listen"):
            listen(type(running.serving)(model=NAME, port=running.service_port))


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}])
def test_large_bodies_get_413(headers):
    with Running(ScriptedEngine(["7"]), max_body=1000) as running:
        assert post(running, {**CHAT, "x": "a" * 800})[0] == 200
        body = json.dumps({**CHAT, "x": "a" * 1000}).encode()
        if headers:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        status, _, said = post(running, body, **headers)
        assert (status, said["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"[" * 9999, b'{"model": "\\ud800"}', b'{"n": NaN}', b"nonsense"]
)
def test_what_is_no_body_is_told_in_json(body):
    with Running(ScriptedEngine(["7"])) as running:
        for path in ("/v1/chat/completions", "/v1/completions"):
            status, headers, said = post(running, body, path)
            assert (status, headers["Content-Type"]) == (400, "application/json")
            assert said["error"]["type"] == "invalid_request_error"
            assert "Traceback" not in str(said)


def test_beyond_the_limit_of_requests_is_429_and_a_leaver_makes_room():
    with Running(NEVER, max_concurrent=2) as running:
        left = [begin(running, CHAT), begin(running, {**CHAT, "stream": True, "model": f"{NAME}@esc"})]
        until(lambda: running.service._num_in_flight == 2)
        status, headers, said = post(running, CHAT)
        assert (status, headers["Retry-After"], said["error"]["type"]) == (429, "1", "rate_limit_error")
        assert post(running, b"", "/healthz")[0] == 200
        for connection in left:
            connection.close()
        until(lambda: not running.service._num_in_flight)
        until(lambda: not running.service._desk._waiting)  # what was drawn for them is given up, long before its end
        page = post(running, b"", "/metrics")[2]
    assert 'tamis_requests_refused_total{code="too_many_requests"} 1.0' in page
    assert 'tamis_requests_total{endpoint="/v1/chat/completions",status="429"} 1.0' in page
    assert "tamis_requests_in_flight 0.0" in page


def begin(running: Running, body: object) -> socket.socket:
    """Send a request and wait for nothing."""
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", running.service_port))
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    return connection


def test_who_leaves_a_stream_in_the_middle_is_drawn_nothing_more_for():
    with Running(NEVER) as running:
        with running.client() as client, client.chat.completions.create(**CHAT, stream=True) as stream:
            assert next(iter(stream)).choices[0].delta.role == "assistant"
        until(lambda: not running.service._num_in_flight and not running.service._desk._waiting)


def test_metrics_count_what_was_drawn():
    with Running(ScriptedEngine(["7", "8"])) as running:
        with running.client() as client:
            client.chat.completions.create(model=f"{NAME}@self-consistency:4", messages=user("hi"))
        post(running, b"{")
        post(running, b"", "/nowhere")
        page = post(running, b"", "/metrics")[2]
    for line in (
        'tamis_samples_total{finish_reason="stop"} 4.0',
        'tamis_tokens_total{kind="completion"} 4.0',
        'tamis_tokens_total{kind="prompt"} 2.0',
        'tamis_requests_total{endpoint="/v1/chat/completions",status="200"} 1.0',
        'tamis_requests_refused_total{code="invalid_json"} 1.0',
        'tamis_requests_total{endpoint="other",status="404"} 1.0',
        'tamis_request_seconds_count{endpoint="/v1/chat/completions"} 2.0',
    ):
        assert line in page


def test_an_engine_that_breaks_is_told_to_all_and_ends_the_service():
    running = Running(ScriptedEngine(["7"], break_after=3, delay=0.05))
    with running, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: post(running, CHAT)[0], range(8)))
        assert set(statuses) <= {200, 503}
        assert 503 in statuses
        running.join()
    assert isinstance(running.error, EngineError)
    assert "broke after 3" in str(running.error)


def test_a_fault_of_ours_shows_no_trace(monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr("tamis.serve.replies.usage", fail)
    with Running(ScriptedEngine(["7"])) as running:
        status, _, said = post(running, CHAT)
    assert (status, said["error"]["code"]) == (500, "internal_error")
    assert "inner" not in str(said)
    assert "inner detail" in caplog.text


def test_a_silent_body_gives_its_place_back(monkeypatch):
    monkeypatch.setattr("tamis.serve.app._BODY_S", 0.1)
    with Running(ScriptedEngine(["7"])) as running, socket.create_connection(("127.0.0.1", running.service_port)) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_silent_stream_is_kept_alive(monkeypatch):
    monkeypatch.setattr("tamis.serve.streaming.KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr("tamis.serve.streaming._FIRST_S", 0.05)
    with Running(ScriptedEngine(["7"], delay=lambda _: 0.5)) as running:
        _, headers, text = post(running, {**CHAT, "stream": True, "tamis": {"n": 2}})
    assert headers["Content-Type"].startswith("text/event-stream")
    assert ": still drawing\n\n" in text
    assert text.endswith("data: [DONE]\n\n")


def test_what_fails_after_the_first_event_is_an_event(monkeypatch):
    monkeypatch.setattr("tamis.serve.streaming._FIRST_S", 0.01)
    with Running(ScriptedEngine(lambda *_: "7", delay=0.2)) as running:

        async def fail(*_):
            await asyncio.sleep(0.2)
            raise Refused(500, "the model failed to answer", code="engine_error")

        monkeypatch.setattr(running.service, "answer", fail, raising=False)
        with running.client() as client, pytest.raises(openai.APIError, match="failed to answer"):
            list(client.chat.completions.create(**CHAT, stream=True))
