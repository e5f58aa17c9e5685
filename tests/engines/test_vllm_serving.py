"""The serving side without vLLM: its flags, the field in the answer, and what the client reads of it."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from types import SimpleNamespace

import numpy as np
import pytest

from tamis.cli import main
from tamis.engines.http.exact import read_exact
from tamis.engines.vllm import plugin
from tamis.engines.vllm.collect import Collector
from tamis.engines.vllm.middleware import StatisticsMiddleware
from tamis.engines.vllm.serving import _plugins, server_flags
from tamis.engines.vllm.store import pack
from tamis.errors import UsageError

VALUES = np.linspace(-9, -1, 36, dtype=np.float32).reshape(4, 9)
IDS = np.array([5, 6, 7, 1], dtype=np.int32)


def field(starts: list[int], ids: np.ndarray = IDS) -> str:
    return b64encode(pack(VALUES, ids, 99) + np.array([*starts, starts[-1]], "<i4").tobytes()).decode()


def test_beyond_loopback_a_server_has_a_key(monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert server_flags(["--port", "1"]) == ["--port", "1", "--host", "127.0.0.1", "--generation-config", "vllm"]
    assert "127.0.0.1" not in server_flags(["--host", "localhost"])
    for flags in (["--host", "0.0.0.0"], ["--host=::"], ["--host", "example"]):
        with pytest.raises(UsageError, match="without a key"):
            server_flags(flags)
        assert server_flags([*flags, "--api-key", "k"])[: len(flags)] == flags
    monkeypatch.setenv("VLLM_API_KEY", "k")
    assert server_flags(["--host", "0.0.0.0", "--generation-config", "auto"]) == [
        "--host", "0.0.0.0", "--generation-config", "auto",
    ]  # fmt: skip


def test_serving_without_vllm_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["vllm", "model", "--port", "1"]) == 2
    assert "tamis[vllm]" in capsys.readouterr().err


def test_an_installation_without_the_plugin_is_no_server(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: SimpleNamespace())
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    assert main(["vllm", "model", "--port", "1"]) == 2
    assert "vllm.general_plugins" in capsys.readouterr().err


def test_other_plugins_are_left_alone(monkeypatch):
    monkeypatch.setenv("VLLM_PLUGINS", "a,b")
    assert _plugins() == "a,b,tamis"
    monkeypatch.delenv("VLLM_PLUGINS")
    assert "tamis" in _plugins().split(",")
    plugin.register()  # nobody asks: nothing is imported, so that it works without vLLM
    assert "VLLM_PLUGINS" not in os.environ


@pytest.mark.parametrize(
    ("starts", "text", "stop", "num_tokens", "expected"),
    [
        ([0, 2, 4, 6, 6], "abcdef", None, 4, [0, 2, 4]),  # the last is the end token
        ([0, 2, 4, 6, 8], "abcdef", "gh", 4, [0, 2, 4]),  # a stop string
        ([0, 2, 4, 6, 8], "abcde", "fg", 4, [0, 2, 4]),  # that begins inside of a token
        ([0, 2, 4, 6, 6], "abcdef", None, 3, [0, 2, 4]),  # a row too much
        ([0, 2, 4, 5, 5], " abcde", None, 4, [0, 3, 5]),  # a first space
        ([0, 2, 4, 6, 6], "another", None, 4, None),
    ],
)
def test_the_tokens_of_the_text_are_kept(starts, text, stop, num_tokens, expected):
    stats = read_exact(field(starts), text, is_stopped=True, stop=stop, num_tokens=num_tokens)
    if expected is None:
        assert stats is None
        return
    assert stats.starts.tolist() == expected
    np.testing.assert_array_equal(stats.values, VALUES[: len(expected)])
    assert stats.ids.tolist() == IDS[: len(expected)].tolist()
    assert stats.vocab_size == 99


@pytest.mark.parametrize("text", ["abcdef", "abcdef\ufffd", "abcdef\ufffd\ufffd"])
def test_a_truncated_answer_keeps_all_tokens(text):
    packed = pack(VALUES, IDS, 99) + np.array([0, 2, 4, 6, 6, 8], "<i4").tobytes()
    stats = read_exact(b64encode(packed).decode(), text, is_stopped=False, stop=None, num_tokens=4)
    assert stats.starts.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("said", [None, 3, "", "AAAA", "!", field([0, 1, 2, 3, 4])[:-8]])
def test_a_broken_field_is_an_error(said):
    with pytest.raises(ValueError):  # noqa: PT011 of several kinds
        read_exact(said, "abcd", is_stopped=True, stop=None, num_tokens=4)


def test_statistics_of_too_few_tokens_are_an_error():
    with pytest.raises(ValueError, match="4 of 5"):
        read_exact(field([0, 1, 2, 3, 4]), "abcd", is_stopped=False, stop=None, num_tokens=5)


class Engine:
    """Workers that know some keys; notes what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def collective_rpc(self, method: str, args: tuple[list[str]]) -> list[dict[str, bytes]]:
        assert method == "tamis_take"
        self.calls.append(args[0])
        await asyncio.sleep(0)
        return [{}, {key: pack(VALUES, IDS, 99) for key in args[0] if key.startswith("known")}]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def state(engine):
    from engines.hf.tiny_models import byte_tokenizer

    collector = Collector(engine, byte_tokenizer(), 99)
    assert collector.can_place_tokens()
    return SimpleNamespace(tamis=collector)


async def exchange(state, body: bytes, messages: list[dict], method: str = "POST", path: str = "/v1/completions") -> list[dict]:
    """Send a request through the middleware to an application that answers with these messages."""
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    async def application(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)

    scope = {"type": "http", "method": method, "path": path, "app": SimpleNamespace(state=state)}
    await StatisticsMiddleware(application)(scope, receive, send)
    return sent


def answer(kind: str, *bodies: bytes, status: int = 200) -> list[dict]:
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % sum(map(len, bodies)))]
    parts = [{"type": "http.response.body", "body": body, "more_body": True} for body in bodies]
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        *parts[:-1],
        {**parts[-1], "more_body": False},
    ]


def asked(key: str, prompt: str = "x") -> bytes:
    return json.dumps({"prompt": prompt, "vllm_xargs": {"other": 1, "tamis": key}}).encode()


def test_an_answer_gets_the_statistics_of_its_key(state, engine):
    start, body = asyncio.run(exchange(state, asked("known-1"), answer("application/json", b'{"a"', b": 1}")))
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    whole = json.loads(body["body"])
    assert whole["a"] == 1
    stats = read_exact(whole["tamis"], "abc", is_stopped=True, stop=None, num_tokens=4)
    assert len(stats) == 3
    assert engine.calls == [["known-1"]]


def test_a_stream_gets_them_in_an_event_before_the_last(state):
    stream = answer("text/event-stream; charset=utf-8", b'data: {"text": "data: [DONE]"}\n\n', b"data: [DONE]\n\n")
    sent = b"".join(message.get("body", b"") for message in asyncio.run(exchange(state, asked("known"), stream)))
    events = [line.removeprefix("data: ") for line in sent.decode().split("\n\n")[:-1]]
    assert len(events) == 3
    assert isinstance(json.loads(events[1])["tamis"], str)
    assert events[2] == "[DONE]"


def test_what_is_not_there_is_null_and_who_does_not_ask_gets_the_bytes_of_vllm(state, engine):
    plain = answer("application/json", b'{"a": 1}')
    assert json.loads(asyncio.run(exchange(state, asked("lost"), plain))[1]["body"])["tamis"] is None
    for body in (b'{"prompt": "x"}', json.dumps({"prompt": asked("known").decode()}).encode()):
        assert asyncio.run(exchange(state, body, plain))[-1]["body"] == b'{"a": 1}'
    assert engine.calls == [["lost"]]


def test_statistics_of_a_request_that_fails_are_forgotten(state, engine):
    async def fail_and_wait():
        refused = answer("application/json", b'{"error": 1}', status=400)
        assert (await exchange(state, asked("known-2"), refused))[-1]["body"] == b'{"error": 1}'
        await asyncio.sleep(0.01)

    asyncio.run(fail_and_wait())
    assert engine.calls == [["known-2"]]


def test_all_that_finish_meanwhile_are_fetched_by_one_call(state, engine):
    async def many():
        plain = answer("application/json", b'{"a": 1}')
        return await asyncio.gather(*(exchange(state, asked(f"known-{i}"), plain) for i in range(40)))

    answers = asyncio.run(many())
    assert all(isinstance(json.loads(body["body"])["tamis"], str) for _, body in answers)
    assert len(engine.calls) <= 2


def test_the_page_of_models_says_what_there_is(state):
    page = asyncio.run(exchange(state, b"", answer("application/json", b'{"data":[]}'), "GET", "/v1/models"))
    assert json.loads(page[1]["body"]) == {"data": [], "tamis": {"vocab_size": 99}}
    bare = SimpleNamespace()
    assert asyncio.run(exchange(bare, b"", answer("application/json", b"{}"), "GET", "/v1/models"))[1]["body"] == b"{}"
