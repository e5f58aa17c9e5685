"""Answers that come in pieces."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from engines.http.requests import request, run

from tamis.engines.http import HTTPEngine
from tamis.engines.http.answers import read_answer
from tamis.engines.http.events import Events, StreamError
from tamis.engines.http.transport import NoAnswerError, _parse
from tamis.engines.scripted_replies import Asked, Said, events, reply
from tamis.engines.scripted_server import Faults, ScriptedServer

ASKED = Asked(True, "m", "1 + 1?", (), 2, 0, 99, (), 3, stream=True, usage_in_stream=True)
SAID = [Said(i, text, i, "stop") for i, text in enumerate(("a\u00e9\U0001f600b, and then some more", ""))]


def engine_of(server: ScriptedServer, **options) -> HTTPEngine:
    return HTTPEngine(server.model, base_urls=[server.base_url], **{"start_s": 3.0, "stream_from": 1, **options})


def parts(choice) -> tuple[object, ...]:
    numbers = choice.prompt_tokens, choice.completion_tokens, choice.stats.values.tobytes()
    return choice.text, choice.finish_reason, choice.error, *numbers


def told(sample) -> tuple[object, ...]:
    row = sample.to_json()
    del row["seconds"]
    return row, sample.stats and [a.tobytes() for a in (sample.stats.values, sample.stats.ids, sample.stats.starts)]


def read(data: bytes, size: int = 1 << 20):
    """What a stream comes to, fed in pieces of a size."""
    found = Events(_parse)
    for start in range(0, len(data), size):
        found.feed(data[start : start + size])
    return read_answer(found.answer(), num_top=3)


@pytest.mark.parametrize("options", [{}, {"token_stats": False, "several": True}])
def test_a_stream_gives_the_samples_that_whole_answers_give(options):
    requests = [request("a", 3), request("b", 2, raw=True), request("c", stop=("answer",)), request("d", max_tokens=5)]
    with ScriptedServer() as server:
        streamed = run(engine_of(server, **options), *requests)
        assert all(body["stream"] for body in server.counts.bodies if body["max_tokens"] != 1)
        whole = run(engine_of(server, stream_from=None, **options), *requests)
    assert [told(s) for s in streamed] == [told(s) for s in whole]
    assert all(s.prompt_tokens and s.completion_tokens for s in streamed)


def test_only_long_answers_are_streamed():
    with ScriptedServer() as server:
        run(engine_of(server, stream_from=100, token_stats=False), request("a", max_tokens=99), request("b", max_tokens=100))
        assert [bool(body.get("stream")) for body in server.counts.bodies] == [False, True]


@pytest.mark.parametrize("options", [{"ignored": ("stream",)}, {"refused": ("stream",)}, {"refused": ("stream_options",)}])
def test_a_server_that_does_not_stream_answers_all_the_same(options):
    with ScriptedServer(faults=Faults(**options)) as server:
        samples = run(engine_of(server), request("a", 4))
    assert all(s.text and s.stats is not None and not s.unsent for s in samples)


def test_a_hang_in_the_middle_is_another_attempt():
    with ScriptedServer(faults=Faults(hang_midway=0.5)) as server:
        samples = run(engine_of(server, token_stats=False, idle_s=600.0, stream_idle_s=0.05, retries=99), request("a", 20))
        assert server.counts.by_fault["hang_midway"] > 0
        assert server.counts.num_requests == 20 + server.counts.by_fault["hang_midway"]
    assert not any(s.error for s in samples)


def test_a_stream_that_breaks_off_for_good_is_one_line():
    for kind, line in (("torn_json", "the stream broke off"), ("error_midway", "the server answers 500: The model crashed.")):
        with ScriptedServer(["a text of some length"], faults=Faults(**{kind: 1.0})) as server:
            (sample,) = run(engine_of(server, token_stats=False, retries=1), request())
        assert sample.error.message == line
        assert sample.parts == ()


def test_a_stream_is_the_answer_however_it_is_cut():
    data = b"".join(events(ASKED, SAID, "x"))
    whole = read_answer(reply(ASKED, SAID, "x"), num_top=3)
    for size in (1, 7, 64, len(data)):
        for bytes_ in (data, data.replace(b"\n", b"\r\n"), b": wait\n\n" + data.replace(b"data: {", b"event: x\ndata:{")):
            for choice, want in zip(read(bytes_, size), whole, strict=True):
                assert parts(choice) == parts(want)


def test_a_torn_stream_is_never_an_answer():
    data = b"".join(events(ASKED, SAID, "x"))
    end = data.index(b"data: ", data.index(b'"usage"')) - 1  # the line of the counts is whole from here on
    for length in range(len(data)):
        if length < end:
            with pytest.raises(StreamError):
                read(data[:length])
        else:
            assert len(read(data[:length])) == 2


def test_what_comes_twice_counts_once():
    (first, _) = read(b"".join(events(ASKED, [*SAID, SAID[0]], "x")))
    assert first.text == SAID[0].text
    assert len(first.stats) == len(SAID[0].text)


@pytest.mark.parametrize("event", [3, [], None, {"choices": 3}, {"choices": [3]}, {"choices": [{"index": []}]}, {"choices": [
    {"delta": 3}]}, {"choices": [{"logprobs": "x"}]}])  # fmt: skip
def test_events_of_another_form_are_no_answer(event):
    with pytest.raises(StreamError):
        read(b"data: " + orjson.dumps(event) + b"\n\ndata: [DONE]\n\n")
    with pytest.raises(NoAnswerError):
        read(b"data: {\n\n")


def test_an_error_event_is_what_its_code_says():
    async def ask(body: bytes):
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        engine = HTTPEngine("m", base_urls=[f"127.0.0.1:{server.sockets[0].getsockname()[1]}"], token_stats=False, retries=0)

        async def feed():
            yield request()

        async with server:
            return await anext(engine.stream(feed()))

    sample = asyncio.run(ask(b'data: {"error": {"message": "too long", "code": 400}}\n\n'))
    assert sample.error.message == "the server refuses the request (400): too long"
    sample = asyncio.run(ask(b'data: {"object": "error", "message": "lost", "code": null}\n\ndata: [DONE]\n\n'))
    assert sample.error.message == "the server answers 500: lost"
