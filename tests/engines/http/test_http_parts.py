from __future__ import annotations

import asyncio
from email.utils import formatdate
from random import Random
from types import SimpleNamespace

import orjson
import pytest

from tamis.engines.http import HTTPEngine, transport
from tamis.engines.http.answers import read_answer
from tamis.engines.http.dialect import Dialect
from tamis.engines.http.endpoints import Endpoint, Endpoints
from tamis.engines.http.settings import find_api_key, find_base_urls, normal_url
from tamis.engines.http.transport import NoAnswerError, RefusedError, TooManyError, Transport, _parse, _retry_after
from tamis.errors import EngineError, UsageError
from tamis.records import Message, Prompt, Sampling


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("https://h/api/v1/chat/completions", "https://h/api/v1"),
        ("https://h/v1beta/openai/", "https://h/v1beta/openai"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_urls_with_or_without_version(given, url):
    assert normal_url(given) == url


@pytest.mark.parametrize("given", ["ftp://h", "http://", "http://u:secret@h", "http://h/?key=secret", "http://h:99999", "a b"])
def test_what_is_no_url_is_refused_without_being_shown(given):
    with pytest.raises(UsageError) as error:
        normal_url(given)
    assert "secret" not in str(error.value)


def test_arguments_go_before_the_environment_and_that_before_the_file(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="no server is named"):
        find_base_urls()
    (tmp_path / ".env").write_text("# x\nexport OPENAI_API_KEY='sk-file'  # y\nOPENAI_BASE_URL=file:1 # z\nbroken\n")
    assert find_api_key() == "sk-file"
    assert find_base_urls() == ("http://file:1/v1",)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert find_api_key() == "sk-env"
    assert find_api_key("sk-given\n") == "sk-given"
    assert find_api_key("") == ""
    assert find_base_urls(["a", "http://a/v1", "b"]) == ("http://a/v1", "http://b/v1")
    with pytest.raises(UsageError) as error:
        find_api_key("sk-a\nb")
    assert "sk-a" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "part"),
    [
        (400, {"error": {"message": "no\nsk-key " + "x" * 900}}, RefusedError, "no *** xxx"),
        (422, {"detail": [{"loc": ["top_k"]}]}, RefusedError, "top_k"),
        (400, [1], RefusedError, "[1]"),
        (500, b"<html><b>", NoAnswerError, "an HTML page"),
        (302, b"", NoAnswerError, "302: nothing"),
        (403, {"error": {"message": "key sk-key"}}, EngineError, "does not accept the API key"),
        (429, {"error": {"code": "insufficient_quota"}}, EngineError, "no credit"),
        (429, {"error": "slow"}, TooManyError, ""),
    ],
)
def test_errors_are_one_line_without_the_key(status, body, kind, part):
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    error = Transport("sk-key", 1, 1, 1, None)._error(status, data, None)
    assert type(error) is kind
    assert part in str(error)
    assert "sk-key" not in str(error)
    assert len(str(error)) < 400
    assert "\n" not in str(error)


def test_retry_after_is_a_number_or_a_date():
    assert [_retry_after(v) for v in ("1.5", "-3", "1e99", "soon", "nan", None)] == [1.5, 0.0, 600.0, None, None, None]
    assert 50 < _retry_after(formatdate(usegmt=True).replace("GMT", "-0001")) <= 60


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    assert _parse(rb'{"a": "x\ud83d", "b": "\ud83d\ude00"}') == {"a": "x\ufffd", "b": "😀"}
    for torn in (b"", b'{"a": ', b"<html>", b"NaN", b"[" * 100_000):
        with pytest.raises(NoAnswerError):
            _parse(torn)


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, {"choices": None}, {"choices": []}, {"choices": [3]}, {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 3}}]}, {"choices": [{"text": "x", "finish_reason": "abort"}]},
        {"choices": [{"text": "x", "finish_reason": ["stop"]}]}, {"choices": [{"text": "x"}], "usage": [1]},
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_none(answer):
    with pytest.raises(NoAnswerError):
        read_answer(answer, num_top=20)


def test_choices_come_once_and_in_order():
    rows = [{"index": i, "message": {"content": text}, "finish_reason": "length"} for i, text in ((1, "b"), (0, "a"), (1, "b"))]
    choices = read_answer({"choices": rows, "usage": {"prompt_tokens": 7, "completion_tokens": 8}}, num_top=None)
    assert [(c.text, c.finish_reason, c.prompt_tokens, c.completion_tokens) for c in choices] == [
        ("a", "length", 7, 4),
        ("b", "length", 7, 4),
    ]


def test_bodies_say_what_the_server_understands():
    dialect = Dialect("m", plain=False, extra_body={"guided": 1})
    to = Endpoint("u", 4)
    prompt = Prompt((Message("system", "s"), Message("user", "u")), ("i",))
    content = dialect.content(prompt, ["data:x"])
    assert content["messages"][1]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:x"}},
        {"type": "text", "text": "u"},
    ]
    body = dialect.body(content, Sampling(top_k=5, stop=("a",)), 9, 1, to)
    assert {"top_k": 5, "stop": ["a"], "seed": 9, "guided": 1, "top_p": 1.0}.items() <= body.items()
    assert not {"min_p", "n", "logprobs", "repetition_penalty"} & body.keys()
    to.takes_extras, to.top_logprobs = True, 20
    body = dialect.body(content, Sampling(), 9, 2, to)
    assert {"top_k": -1, "min_p": 0.0, "n": 2, "logprobs": True, "top_logprobs": 20}.items() <= body.items()
    assert not dialect.learn("temperature must be at most 2", body)
    assert not dialect.learn("Unrecognized request argument supplied: top_k", body)
    assert dialect.learn("Unrecognized request argument supplied: seed", body)
    assert "seed" not in dialect.spoken(body)


@pytest.mark.parametrize(
    ("message", "is_learnt"),
    [
        ("Invalid schema for response_format 'reply'", True),
        ("This response_format type is unavailable now", True),
        ("Failed to compile the grammar", True),
        ("The prompt is too long", False),
    ],
)
def test_a_schema_is_given_up_in_whatever_words_it_is_refused(message, is_learnt):
    dialect = Dialect("m", plain=False, extra_body={})
    prompt = Prompt((Message("user", "u"),), schema={"type": "object"})
    body = dialect.body(dialect.content(prompt, []), Sampling(), 9, 1, Endpoint("u", 4))
    assert dialect.learn(message, body) == is_learnt
    assert dialect.unsent(prompt) == (("response_format",) if is_learnt else ())
    assert ("response_format" in dialect.spoken(body)) != is_learnt


def test_requests_a_second_are_spread(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    clock = SimpleNamespace(time=lambda: 50.0)
    monkeypatch.setattr(transport, "asyncio", SimpleNamespace(get_running_loop=lambda: clock, sleep=sleep))
    limited = Transport("", 1, 1, 1, max_rps=4)

    async def turns():
        for _ in range(4):
            await limited._turn()
        clock.time = lambda: 99.0  # nothing is saved up
        for _ in range(2):
            await limited._turn()

    asyncio.run(turns())
    assert slept == [0.0, 0.25, 0.5, 0.75, 0.0, 0.25]
    with pytest.raises(UsageError, match="requests a second"):
        HTTPEngine("m", base_urls=["h"], max_rps=0)


def test_the_limit_falls_with_429s_and_timeouts_and_rises_again():
    endpoint, seen = Endpoint("u", 32), []
    for outcome in ("refused", "slow", "some", "good"):
        for number in range(600):
            if outcome == "slow":
                endpoint.failed(is_down=False, is_slow=True)
            elif outcome == "refused" or (outcome == "some" and number % 5 == 0):
                endpoint.refused(None)
            else:
                endpoint.answered()
        seen.append(endpoint.limit)
    refused, slow, some, good = seen
    assert refused == slow == 1.0
    assert 20 < some < 32  # one in five at random does not starve it
    assert good == 32.0


def test_the_least_loaded_server_that_is_up_comes_first():
    async def picked():
        endpoints = [Endpoint("a", 2), Endpoint("b", 1)]

        async def contact(endpoint):
            if endpoint.url == "b" and not revived:
                raise NoAnswerError("down")

        revived: list[int] = []
        pool = Endpoints(endpoints, contact, Random(0), start_s=9.0, give_up_s=9.0)
        pool.start()
        first = [(await pool.acquire()).url for _ in range(2)]
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        assert not waiting.done()
        revived.append(1)
        third = (await waiting).url
        pool.release(endpoints[0])
        fourth = (await pool.acquire()).url
        await pool.close()
        return [*first, third, fourth]

    assert asyncio.run(picked()) == ["a", "a", "b", "a"]
