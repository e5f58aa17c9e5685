"""What a server answered, as samples; an answer of another form than the protocol's is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tamis.engines.http.events import GIVEN_UP
from tamis.engines.http.exact import read_exact
from tamis.engines.http.logprobs import read_logprobs
from tamis.engines.http.transport import NoAnswerError
from tamis.engines.watch import tokens_until_cut
from tamis.records import Draw, Failure, FinishReason, Request, Sample, TokenStats

_FINISHED: dict[object, FinishReason] = {
    GIVEN_UP: "cut",
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    None: "stop",
}


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of the texts of an answer."""

    text: str
    finish_reason: FinishReason
    error: Failure | None
    stats: TokenStats | None
    prompt_tokens: int
    completion_tokens: int


def read_answer(answer: Any, *, num_top: int | None, is_exact: bool = False) -> list[Choice]:
    """The choices of an answer to a chat or a plain completion, each index once.

    Args:
        answer: As JSON.
        num_top: How many logprobs were asked for; None: none.
        is_exact: Exact statistics were asked for, of one choice.

    Raises:
        NoAnswerError: It has another form.
    """
    try:
        choices = {choice.get("index", place): choice for place, choice in enumerate(answer["choices"])}
        usage = answer.get("usage") or {}
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        read = [_read(choice, num_top, tokens, len(choices)) for _, choice in sorted(choices.items())]
        if is_exact and read[0].finish_reason != "cut":
            read = [_with_exact(read[0], choices[0], answer.get("tamis"), tokens[1])]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswerError("the server answers in another form than the protocol's") from None
    if not read:
        raise NoAnswerError("the server answers without a choice")
    return read


def _read(choice: dict[str, Any], num_top: int | None, tokens: tuple[int, int], num_choices: int) -> Choice:
    text = _text(choice)
    reason = choice.get("finish_reason")
    finish_reason = _FINISHED.get(reason)
    error = None
    if finish_reason is None:
        if reason != "content_filter":
            raise ValueError(reason)
        finish_reason, error = "error", Failure("engine", "the server's content filter stopped the answer")
    stats = None
    if num_top is not None and choice.get("logprobs"):
        is_stopped = finish_reason == "stop"
        stats = read_logprobs(choice["logprobs"], text, is_stopped=is_stopped, num_top=num_top, ids=choice.get("token_ids"))
    completion_tokens = len(stats) if stats is not None else round(tokens[1] / num_choices)
    return Choice(text, finish_reason, error, stats, tokens[0], completion_tokens)


def _with_exact(choice: Choice, said: dict[str, Any], packed: Any, num_tokens: int) -> Choice:
    is_stopped = choice.finish_reason == "stop"
    try:
        stats = read_exact(packed, choice.text, is_stopped=is_stopped, stop=said.get("stop_reason"), num_tokens=num_tokens)
    except ValueError as error:
        raise NoAnswerError(f"the server's token statistics cannot be read: {error}") from None
    return replace(choice, stats=stats, completion_tokens=len(stats) if stats is not None else choice.completion_tokens)


def _text(choice: dict[str, Any]) -> str:
    if "message" not in choice:
        text = choice["text"]
    else:
        message = choice["message"]
        text = message.get("content") or message.get("refusal") or ""
        if isinstance(text, list):
            text = "".join(part["text"] for part in text if part["type"] == "text")
    if not isinstance(text, str):
        raise TypeError(text)
    return text


def samples_of(
    request: Request, draws: Sequence[Draw], choices: Sequence[Choice], seconds: float, unsent: tuple[str, ...]
) -> list[Sample]:
    """A sample for each draw, as far as the choices go."""
    return [_sample(request, draw, choice, seconds, unsent) for draw, choice in zip(draws, choices, strict=False)]


def _sample(request: Request, draw: Draw, choice: Choice, seconds: float, unsent: tuple[str, ...]) -> Sample:
    text, finish_reason, stats = choice.text, choice.finish_reason, choice.stats
    completion_tokens = choice.completion_tokens
    if stats is not None and request.watch and (length := tokens_until_cut(stats, request.watch)):
        text = text[: stats.starts[length]] if length < len(stats) else text
        stats = TokenStats(stats.values[:length], stats.ids[:length], stats.starts[:length], stats.vocab_size)
        finish_reason, completion_tokens = "cut", length
    return Sample(
        draw.key,
        request.problem_id,
        draw.index,
        draw.seed,
        request.sampling,
        parts=(text,) if text else (),
        finish_reason=finish_reason,
        prompt_tokens=choice.prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=seconds,
        error=choice.error,
        stats=stats,
        unsent=unsent,
    )


def failed(request: Request, draw: Draw, failure: Failure, seconds: float = 0.0) -> Sample:
    """The record of a draw that came to nothing."""
    identity = (draw.key, request.problem_id, draw.index, draw.seed, request.sampling)
    return Sample(*identity, finish_reason="error", seconds=seconds, error=failure)
