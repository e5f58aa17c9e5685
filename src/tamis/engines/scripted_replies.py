"""OpenAI's forms of requests and answers, with scripted texts in them: for `scripted_server`.

A token is a character, as in `scripted`; its id is its code point modulo `VOCAB_SIZE`, and the other tokens that
`top_logprobs` lists are the characters from `@` on.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from tamis.engines.scripted import VOCAB_SIZE, cut, random_logp

_CHUNK_SIZE = 8  # characters in one event of a stream
_MAX_TOP_LOGPROBS = 20
_TOKENS_PER_IMAGE = 16
_DEFAULT_MAX_TOKENS = 1024


class BadRequest(ValueError):
    """What a client asked cannot be; `param` is the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


def dumps(row: Mapping[str, Any]) -> bytes:
    """As JSON, half surrogate pairs too."""
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError:
        return json.dumps(row).encode()


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """OpenAI's form of an error."""
    return dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read."""

    chat: bool
    model: str
    prompt: str  # the text parts of all messages, a line each
    images: tuple[str, ...]  # SHA-256 of each image's bytes
    n: int
    seed: int | None
    max_tokens: int
    stop: tuple[str, ...]
    top_logprobs: int | None  # None: no log-probabilities are wanted
    stream: bool
    usage_in_stream: bool


def read_request(body: Any, *, chat: bool) -> Asked:
    """Read a request's body.

    Raises:
        BadRequest: A field that is missing, or not what it should be.
    """
    if not isinstance(body, Mapping):
        raise BadRequest("The body is not a JSON object.")
    try:
        if chat:
            prompt, images = _read_messages(body["messages"])
        else:
            prompt, images = body["prompt"], ()
            if isinstance(prompt, list) and len(prompt) == 1:
                prompt = prompt[0]
            if not isinstance(prompt, str):
                raise BadRequest("'prompt' must be one string.", "prompt")
        return Asked(
            chat=chat,
            model=str(body["model"]),
            prompt=prompt,
            images=images,
            n=_number(body, "n", 1, 1, 1024),
            seed=_number(body, "seed", 0, -(2**63), 2**64 - 1) if body.get("seed") is not None else None,
            max_tokens=_number(body, "max_completion_tokens", _number(body, "max_tokens", _DEFAULT_MAX_TOKENS, 1), 1),
            stop=_stop(body.get("stop")),
            top_logprobs=_top_logprobs(body, chat=chat),
            stream=bool(body.get("stream")),
            usage_in_stream=bool((body.get("stream_options") or {}).get("include_usage")),
        )
    except KeyError as missing:
        raise BadRequest(f"Missing required parameter: {missing}.", str(missing.args[0])) from None
    except (TypeError, AttributeError) as error:
        raise BadRequest(f"Invalid type: {error}.") from None


def _read_messages(messages: Any) -> tuple[str, tuple[str, ...]]:
    texts, images = [], []
    for message in messages:
        content = message["content"]
        parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text":
                texts.append(part["text"])
            elif part["type"] == "image_url":
                images.append(_image_digest(part["image_url"]["url"]))
            else:
                raise BadRequest(f"Invalid content type: {part['type']!r}.", "messages")
    return "\n".join(texts), tuple(images)


def _image_digest(url: str) -> str:
    head, _, data = url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise BadRequest("Only data URLs of images are read here.", "messages")
    try:
        return hashlib.sha256(base64.b64decode(data, validate=True)).hexdigest()
    except ValueError:
        raise BadRequest("Invalid base64 image.", "messages") from None


def _number(body: Mapping[str, Any], name: str, default: int, least: int, most: int = 2**31) -> int:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"Invalid value of '{name}': expected an integer from {least} to {most}.", name)
    return value


def _stop(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _top_logprobs(body: Mapping[str, Any], *, chat: bool) -> int | None:
    if not chat:
        return _number(body, "logprobs", 0, 0, _MAX_TOP_LOGPROBS) if body.get("logprobs") is not None else None
    return _number(body, "top_logprobs", 0, 0, _MAX_TOP_LOGPROBS) if body.get("logprobs") else None


@dataclass(frozen=True, slots=True)
class Said:
    """One choice."""

    index: int
    text: str
    seed: int
    finish_reason: str

    @staticmethod
    def of(script_text: str, asked: Asked, index: int, seed: int) -> Said:
        """What is generated of a scripted text under the request's limits."""
        text, finish_reason = cut(script_text, asked.stop, asked.max_tokens)
        return Said(index, text, seed, finish_reason)


def reply(asked: Asked, choices: list[Said], identity: str) -> dict[str, Any]:
    """The whole answer, not streamed."""
    rows = []
    for said in choices:
        row: dict[str, Any] = {"index": said.index, "finish_reason": said.finish_reason}
        row |= {"message": {"role": "assistant", "content": said.text}} if asked.chat else {"text": said.text}
        rows.append(row | {"logprobs": _logprobs(asked, said)})
    return _frame(asked, identity, "chat.completion" if asked.chat else "text_completion") | {
        "choices": rows,
        "usage": _usage(asked, choices),
    }


def events(asked: Asked, choices: list[Said], identity: str) -> Iterator[bytes]:
    """The answer as server-sent events, the choices in turns; what is a second time among them comes again at the end."""
    frame = _frame(asked, identity, "chat.completion.chunk" if asked.chat else "text_completion")
    firsts = list({said.index: said for said in choices}.values())
    for group in (firsts, choices[len(firsts) :]):
        longest = max((len(said.text) for said in group), default=-1)
        for start in range(0, longest + 1, _CHUNK_SIZE):
            for said in group:
                if start <= len(said.text):
                    yield event(frame | {"choices": [_chunk(asked, said, start)]})
    if asked.usage_in_stream:
        yield event(frame | {"choices": [], "usage": _usage(asked, choices)})
    yield b"data: [DONE]\n\n"


def _chunk(asked: Asked, said: Said, start: int) -> dict[str, Any]:
    end = start + _CHUNK_SIZE
    piece = said.text[start:end]
    delta = {"delta": {"role": "assistant", "content": piece}} if asked.chat else {"text": piece}
    is_last = end > len(said.text)
    return {
        "index": said.index,
        **delta,
        "logprobs": _logprobs(asked, said, start, min(end, len(said.text))),
        "finish_reason": said.finish_reason if is_last else None,
    }


def event(row: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + dumps(row) + b"\n\n"


def _frame(asked: Asked, identity: str, kind: str) -> dict[str, Any]:
    return {"id": identity, "object": kind, "created": 0, "model": asked.model}


def _usage(asked: Asked, choices: list[Said]) -> dict[str, int]:
    num_read = len(asked.prompt) + _TOKENS_PER_IMAGE * len(asked.images)
    num_written = sum(len(text) for text in {said.index: said.text for said in choices}.values())
    return {"prompt_tokens": num_read, "completion_tokens": num_written, "total_tokens": num_read + num_written}


def _logprobs(asked: Asked, said: Said, start: int = 0, end: int | None = None) -> dict[str, Any] | None:
    """Log-probabilities of tokens `start` to `end`, of the distributions that `random_stats` summarises."""
    if asked.top_logprobs is None:
        return None
    logp, ids = random_logp(said.text, said.seed)
    rows = []
    for t, character in list(enumerate(said.text))[start:end]:
        best = np.argsort(-logp[t], kind="stable")[: asked.top_logprobs]
        top = [(character if j == ids[t] else chr(2 * VOCAB_SIZE + int(j)), float(logp[t, j])) for j in best]
        rows.append(((character, float(logp[t, ids[t]])), top))
    if asked.chat:
        return {"content": [_entry(*chosen) | {"top_logprobs": [_entry(*pair) for pair in top]} for chosen, top in rows]}
    return {
        "tokens": [token for (token, _), _ in rows],
        "token_logprobs": [value for (_, value), _ in rows],
        "top_logprobs": [dict(top) for _, top in rows],
        "text_offset": list(range(start, start + len(rows))),
    }


def _entry(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode("utf-8", "surrogatepass"))}
