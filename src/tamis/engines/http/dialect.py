"""What a request says, and what a server would rather not be told: learnt from its first refusal, and remembered."""

from __future__ import annotations

import logging
import re
from typing import Any

from tamis.engines.http.endpoints import Endpoint
from tamis.records import Prompt, Sampling

_log = logging.getLogger(__name__)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unexpected|unknown|not permitted|not allowed|extra (?:input|field)", re.IGNORECASE
)
_MAY_GO = ("temperature", "top_p", "seed", "top_logprobs", "logprobs", "return_token_ids", "repetition_penalty")


class Dialect:
    """How one model on its servers wants to be asked; `dropped` are the fields that it refused by name."""

    def __init__(self, model: str, *, plain: bool, extra_body: dict[str, Any]) -> None:
        self.model = model
        self._plain = plain
        self._extra_body = extra_body
        self.dropped: set[str] = set()
        self._renames_max_tokens = False

    def is_plain(self, prompt: Prompt) -> bool:
        """Whether a prompt goes to `/completions` as it stands instead of through the chat template."""
        return prompt.raw or self._plain

    def content(self, prompt: Prompt, image_urls: list[str]) -> dict[str, Any]:
        """The part of the body that the draws of a request share. The images come first in the last turn of the user."""
        if self.is_plain(prompt):
            return {"prompt": prompt.text}
        messages: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if image_urls:
            users = [m for m in messages if m["role"] == "user"] or messages
            pictures = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
            users[-1]["content"] = [*pictures, {"type": "text", "text": users[-1]["content"]}]
        return {"messages": messages}

    def body(self, content: dict[str, Any], sampling: Sampling, seed: int, num_choices: int, to: Endpoint) -> dict[str, Any]:
        """A whole request to an endpoint.

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
            extras = {"top_k": sampling.top_k or -1, "min_p": sampling.min_p, "repetition_penalty": 1.0}
            body |= extras | {"return_token_ids": True}
        else:
            body |= {k: v for k, v in (("top_k", sampling.top_k), ("min_p", sampling.min_p)) if v}
        if to.top_logprobs is not None:
            if "messages" in content:
                body |= {"logprobs": True} | ({"top_logprobs": to.top_logprobs} if to.top_logprobs else {})
            else:
                body["logprobs"] = to.top_logprobs
        return self.spoken(body | self._extra_body)

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
        if not _NOT_TAKEN.search(message):
            return False
        if "max_tokens" in body and "max_completion_tokens" in message:
            self._renames_max_tokens = True
            return True
        named = next((f for f in _MAY_GO if f in body and re.search(rf"(?<![\w.]){f}(?!\w)", message)), None)
        if named is None:
            return False
        if named not in self.dropped:
            self.dropped |= {named, "top_logprobs"} if named == "logprobs" else {named}
            _log.warning("%s is left out of all requests: the server says: %s", named, message)
        return True
