"""The service as the real `openai` client finds it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from serve.running import NAME, Running, user

from tamis.engines.scripted import ScriptedEngine
from tamis.records import Draw, Failure, Request
from tamis.select import FREE

TEXT = "Step 1: 三加四\nThe answer is \\boxed{7}."
ANSWERS = ["so \\boxed{7}", "\\boxed{8}", "\\boxed{7.0}", "no idea", "\\boxed{9}", "\\boxed{9}", "\\boxed{9}", "\\boxed{7}"]


def script(request: Request, draw: Draw) -> str | Failure:
    said = request.prompt.text
    if "fail" in said:
        return Failure("engine", "secret detail")
    if "long" in said:
        return Failure("input", "the prompt has 9 tokens, the model's context holds 8")
    if "poem" in said:
        return f"roses {draw.index}"
    if "half" in said and draw.index % 2:
        return Failure("engine", "secret detail")
    if "seed" in said:
        return f"\\boxed{{{draw.seed}}}"
    return ANSWERS[draw.index % 8] if "vote" in said else TEXT


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with Running(ScriptedEngine(script, token_stats=True, max_draws_in_flight=64)) as running, running.client() as client:
        yield client


def test_a_plain_chat_and_a_plain_completion(client):
    reply = client.chat.completions.create(model=NAME, messages=user("hi"), user="me")
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (TEXT, "stop")
    assert reply.usage.completion_tokens == len(TEXT)
    assert reply.usage.total_tokens == len(TEXT) + reply.usage.prompt_tokens
    assert reply.tamis["ignored"] == ["user"]
    reply = client.completions.create(model=NAME, prompt="hi", n=2)
    assert [(c.index, c.text, c.finish_reason) for c in reply.choices] == [(i, TEXT[:16], "length") for i in range(2)]
    reply = client.completions.create(model=NAME, prompt=["hi"], max_tokens=99, stop="\n")
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == (TEXT.split("\n")[0], "stop")


def test_the_best_of_n_by_the_name_of_the_model(client):
    reply = client.chat.completions.create(model=f"{NAME}@self-consistency:8", messages=user("vote"))
    assert reply.choices[0].message.content == "so \\boxed{7}"
    told = reply.tamis
    assert (told["method"], told["n"], told["abstained"]) == ("self-consistency", 8, False)
    assert told["votes"] == told["counts"] == {"7": 3, "8": 1, "9": 3}
    assert (told["chosen"]["index"], told["chosen"]["answer"]) == (0, "7")
    assert [row["text"] for row in told["alternatives"]] == ANSWERS[1:]
    assert reply.usage.completion_tokens == sum(map(len, ANSWERS))


def test_the_best_by_a_score_and_choices_best_first(client):
    extra = {"tamis": {"n": 8, "method": "mean-self-certainty"}}
    reply = client.chat.completions.create(model=NAME, messages=user("vote"), n=3, seed=5, extra_body=extra)
    rows = [reply.tamis["chosen"], *reply.tamis["alternatives"]]
    best = sorted((row for row in rows if row["answer"]), key=lambda row: -row["score"])
    assert [choice.message.content for choice in reply.choices] == [row["text"] for row in best[:3]]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.tamis["chosen"] == best[0]


def test_adaptive_sampling_draws_what_it_needs(client):
    reply = client.chat.completions.create(model=f"{NAME}@esc", messages=user("hi"))
    assert (reply.tamis["n"], reply.tamis["adaptive"]) == (5, "esc")
    extra = {"tamis": {"adaptive": "adaptive-consistency", "n": 40, "threshold": 0.8, "method": "self-consistency"}}
    reply = client.chat.completions.create(model=NAME, messages=user("hi"), extra_body=extra)
    assert reply.tamis["n"] == 2
    reply = client.chat.completions.create(model=NAME, messages=user("vote"), extra_body={"tamis": {"adaptive": "esc"}})
    assert (reply.tamis["n"], reply.tamis["method"]) == (40, "esc")


@pytest.mark.parametrize("choosing", [{}, {"method": "self-consistency"}, {"adaptive": "esc"}])
def test_a_threshold_without_effect_is_named(client, choosing):
    extra = {"tamis": {**choosing, "threshold": 0.9}}
    reply = client.chat.completions.create(model=NAME, messages=user("hi"), extra_body=extra)
    assert reply.tamis["ignored"] == ["tamis.threshold"]


def test_a_vote_without_answers_gives_the_first_text_and_says_so(client):
    reply = client.chat.completions.create(model=f"{NAME}@self-consistency:3", messages=user("poem"))
    assert reply.choices[0].message.content == "roses 0"
    assert reply.tamis["abstained"]


def test_the_same_seed_gives_the_same_answer_and_none_gives_others(client):
    def ask(**options):
        reply = client.chat.completions.create(model=f"{NAME}@baseline:2", messages=user("seed"), **options)
        return reply.choices[0].message.content, reply.tamis["seed"]

    assert ask(seed=7) == ask(seed=7)
    assert ask(seed=7) != ask(seed=8)
    text, seed = ask()
    assert ask() != (text, seed)
    assert ask(seed=seed) == (text, seed)


def test_texts_come_as_they_are_drawn(client):
    options = {"model": NAME, "messages": user("hi"), "stream": True, "n": 2, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**options))
    texts = ["", ""]
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
    assert texts == [TEXT, TEXT]
    assert len(chunks) > 6
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[-3:-1]] == ["stop", "stop"]
    assert chunks[-2].tamis["method"] is None
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 2 * len(TEXT))
    assert len({chunk.id for chunk in chunks}) == 1
    pieces = [c.choices[0].text for c in client.completions.create(model=NAME, prompt="hi", max_tokens=99, stream=True)]
    assert "".join(pieces) == TEXT
    assert all(chunk.choices for chunk in client.chat.completions.create(model=NAME, messages=user("hi"), stream=True))


def test_a_chosen_text_comes_when_it_is_chosen(client):
    chunks = list(client.chat.completions.create(model=f"{NAME}@self-consistency:8", messages=user("vote"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "so \\boxed{7}"
    assert chunks[-1].tamis["counts"] == {"7": 3, "8": 1, "9": 3}


def test_models_are_the_name_and_a_name_for_each_method(client):
    names = [model.id for model in client.models.list()]
    assert names == [NAME, *(f"{NAME}@{method}" for method in FREE)]
    assert client.models.retrieve(f"{NAME}@esc").owned_by == "tamis"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize("model", ["other", f"{NAME}@", f"{NAME}@nix:3", f"{NAME}@esc:0", f"{NAME}@esc:x", "other@esc", ""])
def test_unknown_models(client, model):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=model, messages=user("hi"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("options", "param", "message"),
    [
        ({"max_tokens": 5000}, "max_tokens", "at most 4096 tokens"),
        ({"n": 65}, "n", "at most 64 answers"),
        ({"extra_body": {"tamis": {"n": 65}}}, "tamis", "at most 64"),
        ({"extra_body": {"tamis": {"method": "self-certanty"}}}, "tamis", "Did you mean self-certainty?"),
        ({"extra_body": {"tamis": {"method": "judge"}}}, "tamis", "judge needs more than the answers: judge"),
        ({"extra_body": {"tamis": {"metod": "esc"}}}, "tamis", "metod"),
        ({"stop": ["a"] * 17}, "stop", "at most 16 items"),
        ({"logprobs": True}, "logprobs", "not granted"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "not granted"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not granted"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"extra_body": {"n": "2"}}, "n", "valid integer"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": user("long")}, None, "context holds 8"),
    ],
)
def test_what_cannot_be_is_one_line_about_a_field(client, options, param, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.chat.completions.create(**{"model": NAME, "messages": user("hi"), **options})
    assert caught.value.param == param
    assert "\n" not in caught.value.body["message"]


def test_what_fails_in_the_engine_is_not_told_in_its_words(client):
    for options in ({}, {"stream": True}, {"extra_body": {"tamis": {"n": 2}}}):
        with pytest.raises(openai.InternalServerError) as caught:
            list(client.chat.completions.create(model=NAME, messages=user("fail"), **options))
        assert caught.value.code == "engine_error"
        assert "secret" not in str(caught.value)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=NAME, messages=user("half"), n=2)
    reply = client.chat.completions.create(model=f"{NAME}@self-consistency:4", messages=user("half"))
    assert (reply.choices[0].message.content, reply.tamis["counts"]) == (TEXT, {"7": 2})
    assert [row["finish_reason"] for row in reply.tamis["alternatives"]] == ["error", "stop", "error"]


def test_turns_of_all_roles_and_parts_of_text(client):
    parts = [{"type": "text", "text": "vo"}, {"type": "text", "text": "hi"}]
    turns = [
        {"role": "developer", "content": "be brief"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": parts},
    ]
    assert client.chat.completions.create(model=NAME, messages=turns).choices[0].message.content == TEXT
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": picture}])


def test_a_method_whose_score_the_engine_does_not_give():
    with Running(ScriptedEngine(script)) as running, running.client() as client:
        with pytest.raises(openai.BadRequestError, match="no_statistics"):
            client.chat.completions.create(model=f"{NAME}@self-certainty", messages=user("hi"))
        assert client.chat.completions.create(model=f"{NAME}@self-consistency", messages=user("hi")).choices
