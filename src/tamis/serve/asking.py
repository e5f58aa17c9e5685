"""From the bytes of a request to what is drawn for it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tamis.config import AdaptiveRule, AdaptiveSampling, Serving
from tamis.errors import UsageError
from tamis.identity import content_id
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.select import FREE, Method, find_method
from tamis.select.stopping import RULES
from tamis.serve.bodies import NOT_GRANTED, Body, ChatBody, Choosing, CompletionBody, ignored
from tamis.serve.refusals import Refused, unknown_model
from tamis.workflows.answering import Order

DEFAULT_SAMPLES, DEFAULT_MOST_SAMPLES = 8, 40
"""How many answers are drawn where a method is named alone: fixed, and at most with adaptive sampling."""
_COMPLETION_TOKENS = 16  # of a plain completion, where nothing is said: OpenAI's default
_SEEDS = 2**53  # of requests that give none: a number that JavaScript keeps
_SILENT = Choosing(n=None, method=None, adaptive=None, threshold=None)
_ROLES = {"developer": "system"}

AnyBody = TypeVar("AnyBody", bound=Body)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read.

    Attributes:
        order: What is drawn.
        model: As the client named it.
        num_choices: How many texts it gets.
        is_chat: By which endpoint.
        is_streamed: Whether it wants events.
        wants_usage: Whether the last of them counts tokens.
        ignored: The fields that have no effect.
    """

    order: Order
    model: str
    num_choices: int
    is_chat: bool
    is_streamed: bool
    wants_usage: bool
    ignored: list[str]


def parse(kind: type[AnyBody], data: bytes) -> AnyBody:
    """A body.

    Raises:
        Refused: It is not JSON, or a field is not what it should be.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        same = [each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]]
        # Of a field that may be of several kinds, what is wrong with its value says more than that it is of no other kind.
        found = next((each for each in same if not each["type"].endswith("_type")), errors[0])
        raise _invalid(kind, found) from None


def _invalid(kind: type[Body], error: ErrorDetails) -> Refused:
    if error["type"] == "json_invalid":
        return Refused(400, "the body is not JSON", code="invalid_json")
    place = [str(part) for part in error["loc"]]
    param = place[0] if place else None
    field = kind.model_fields.get(param or "")
    if field is not None and (field.description or "").startswith(NOT_GRANTED):
        return Refused(400, f"{param} is not granted here", code="unsupported_parameter", param=param)
    where = f"{'.'.join(place)}: " if place else ""
    return Refused(400, f"{where}{error['msg']}", code="invalid_value", param=param)


def read(body: ChatBody | CompletionBody, name: str, serving: Serving) -> Asked:
    """What a body asks of the model called `name`.

    Raises:
        Refused: There is no such model or method, or it asks for too much.
    """
    choosing = _choosing(body, name)
    method, adaptive = _method(choosing)
    num_choices = body.n or 1
    default = 1 if method is None else DEFAULT_MOST_SAMPLES if adaptive else DEFAULT_SAMPLES
    n = max(choosing.n or min(default, serving.max_samples), num_choices)
    _check_most("tamis.n" if choosing.n else "n", n, serving.max_samples, "answers are drawn for a request")
    default_tokens = serving.max_tokens if isinstance(body, ChatBody) else min(_COMPLETION_TOKENS, serving.max_tokens)
    max_tokens = body.answer_tokens or default_tokens
    _check_most("max_tokens", max_tokens, serving.max_tokens, "tokens an answer may have")
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=body.top_p or 1.0,
        top_k=max(body.top_k or 0, 0),
        min_p=body.min_p or 0.0,
        max_tokens=max_tokens,
        stop=() if body.stop is None else (body.stop,) if isinstance(body.stop, str) else tuple(body.stop),
        n=n,
        seed=secrets.randbelow(_SEEDS) if body.seed is None else body.seed,
    )
    prompt = _prompt(body)
    is_idle = choosing.threshold is not None and (adaptive is None or adaptive.rule == "esc")
    problem = Problem(content_id("", prompt.messages), messages=prompt.messages)
    return Asked(
        Order(problem, prompt, sampling, method, adaptive),
        body.model,
        num_choices,
        isinstance(body, ChatBody),
        bool(body.stream),
        bool(body.stream_options and body.stream_options.include_usage),
        [*ignored(body), *(["tamis.threshold"] if is_idle else [])],
    )


def _check_most(param: str, value: int, most: int, what: str) -> None:
    if value > most:
        raise Refused(400, f"{param} is {value}: at most {most} {what}", code="invalid_value", param=param.split(".")[0])


def _prompt(body: ChatBody | CompletionBody) -> Prompt:
    if isinstance(body, CompletionBody):
        text = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        return Prompt((Message("user", text),), raw=True)
    turns = []
    for turn in body.messages:
        content = turn.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        turns.append(Message(_ROLES.get(turn.role, turn.role), text))
    return Prompt(tuple(turns))


def _choosing(body: Body, name: str) -> Choosing:
    """How is chosen: by the body, and where it is silent by the model's name.

    Raises:
        Refused: The model is another, or what follows its @ is no method.
    """
    said = body.tamis or _SILENT
    if body.model == name:
        return said
    given, _, number = body.model.removeprefix(f"{name}@").partition(":")
    if not body.model.startswith(f"{name}@"):
        raise unknown_model(f"there is no model {body.model!r}; there is {name}, and {name}@METHOD:N")
    if given not in FREE:
        raise unknown_model(f"there is no method {given!r} here; methods: {', '.join(FREE)}")
    if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 10**6):
        raise unknown_model(f"what follows the colon is no number of answers: {number!r}")
    n = said.n or (int(number) if number else None)
    return Choosing(n=n, method=said.method or given, adaptive=said.adaptive, threshold=said.threshold)


def _method(choosing: Choosing) -> tuple[Method | None, AdaptiveSampling | None]:
    """What takes one, and when there are enough: a method that is a rule of adaptive sampling stops where it says.

    Raises:
        Refused: There is no such method.
    """
    name = choosing.method or choosing.adaptive or ("self-consistency" if choosing.n else None)
    if name is None:
        return None, None
    try:
        method = find_method(name)
    except UsageError as error:
        raise Refused(400, str(error), code="invalid_value", param="tamis") from None
    if name not in FREE:
        needs = " and ".join(method.needs)
        raise Refused(400, f"{name} needs more than the answers: {needs}", code="invalid_value", param="tamis")
    rule = choosing.adaptive or (cast("AdaptiveRule", name) if name in RULES else None)
    if rule is None:
        return method, None
    settings = AdaptiveSampling(rule)
    return method, settings if choosing.threshold is None else replace(settings, threshold=choosing.threshold)
