"""What a request says, and what a server would rather not be told: learnt from its first refusal, and remembered."""

from __future__ import annotations

import logging
import re
from secrets import token_hex
from typing import Any

from tamis.engines.http.endpoints import Endpoint
from tamis.engines.vllm.store import KEY as STATISTICS_KEY
from tamis.records import Prompt, Sampling

_log = logging.getLogger(__name__)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unexpected|unknown|not permitted|not allowed|extra (?:input|field)", re.IGNORECASE
)
_NO_SCHEMA = re.compile(r"response_format|schema|grammar|structured|guided", re.IGNORECASE)
_SHAPING = ("temperature", "top_p", "seed", "response_format")
_MAY_GO = (*_SHAPING, "top_logprobs", "logprobs", "stream_options", "stream", "return_token_ids", "repetition_penalty")
_TOGETHER = {"logprobs": ("top_logprobs",), "stream": ("stream_options",)}


def exact_fields() -> dict[str, Any]:
    """What asks a server of ours for the statistics of one choice, under a key of its own."""
    return {"vllm_xargs": {STATISTICS_KEY: token_hex(16)}}


class Dialect:
    """How one model on its servers wants to be asked; `dropped` are the fields that it refused by name."""

    def __init__(self, model: str, *, plain: bool, extra_body: dict[str, Any], stream_from: int | None = None) -> None:
        """`stream_from`: answers that may have so many tokens are streamed; None: none are."""
        self.model = model
        self._plain = plain
        self._extra_body = extra_body
        self._stream_from = stream_from
        self.dropped: set[str] = set()
        self._renames_max_tokens = False

    def is_plain(self, prompt: Prompt) -> bool:
        """Whether a prompt goes to `/completions` as it stands instead of through the chat template."""
        return prompt.raw or self._plain

    def content(self, prompt: Prompt, image_urls: list[str]) -> dict[str, Any]:
        """The part of the body that the draws of a request share. The images come first in the last turn of the user."""
        form: dict[str, Any] = {}
        if prompt.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": prompt.schema}
            form = {"response_format": {"type": "json_schema", "json_schema": schema}}
        if self.is_plain(prompt):
            return {"prompt": prompt.text, **form}
        messages: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if image_urls:
            users = [m for m in messages if m["role"] == "user"] or messages
            pictures = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
            users[-1]["content"] = [*pictures, {"type": "text", "text": users[-1]["content"]}]
        return {"messages": messages, **form}

    def body(
        self,
        content: dict[str, Any],
        sampling: Sampling,
        seed: int,
        num_choices: int,
        to: Endpoint,
        *,
        is_heard: bool = False,
    ) -> dict[str, Any]:
        """A whole request to an endpoint; an answer that is listened to is streamed.

        All that has a default on some server is said, for vLLM takes defaults from the model's folder unless told.
        """
        body = {
            "model": self.model,
            **content,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if num_choices > 1:
            body["n"] = num_choices
        if to.takes_extras:
            body |= {"top_k": sampling.top_k or -1, "min_p": sampling.min_p, "repetition_penalty": 1.0}
            body |= {"return_token_ids": True} if to.vocab_size is None else exact_fields()
        else:
            body |= {k: v for k, v in (("top_k", sampling.top_k), ("min_p", sampling.min_p)) if v}
        if to.top_logprobs is not None:
            if "messages" in content:
                body |= {"logprobs": True} | ({"top_logprobs": to.top_logprobs} if to.top_logprobs else {})
            else:
                body["logprobs"] = to.top_logprobs
        if is_heard or (self._stream_from is not None and sampling.max_tokens >= self._stream_from):
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return self.spoken(body | self._extra_body)

    def unsent(self, prompt: Prompt) -> tuple[str, ...]:
        """The dropped fields without which a sample is another than was asked for."""
        return tuple(f for f in _SHAPING if f in self.dropped and (f != "response_format" or prompt.schema is not None))

    def spoken(self, body: dict[str, Any]) -> dict[str, Any]:
        """A body in the words that the servers take."""
        body = {name: value for name, value in body.items() if name not in self.dropped}
        if self._renames_max_tokens and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    def learn(self, message: str, body: dict[str, Any]) -> bool:
        """Whether a refusal of a body names a field to be left out or renamed, so that it is worth another try.

        Fields that say which samples are wanted, `top_k` or `stop`, are never left out: the refusal is the sample's error.
        """
        named = "response_format" if "response_format" in body and _NO_SCHEMA.search(message) else None
        if named is None and not _NOT_TAKEN.search(message):
            return False
        if "max_tokens" in body and "max_completion_tokens" in message:
            self._renames_max_tokens = True
            return True
        named = named or next((f for f in _MAY_GO if f in body and re.search(rf"(?<![\w.]){f}(?!\w)", message)), None)
        if named is None:
            return False
        if named not in self.dropped:
            self.dropped |= {named, *_TOGETHER.get(named, ())}
            _log.warning("%s is left out of all requests: the server says: %s", named, message)
        return True
