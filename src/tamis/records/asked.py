"""What is asked: problems, prompts, and the draws owed to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A thing to be answered; `id` is given by the source or is a hash of the content (`content_id`)."""

    id: str
    prompt: str = ""
    messages: tuple[Message, ...] = ()  # instead of `prompt`: a whole conversation
    images: tuple[str, ...] = ()
    answer: str | None = None  # the reference
    metadata: Mapping[str, Any] = field(default_factory=dict)  # all other fields of the source row, untouched
    where: str = ""  # "file:line", for messages only; takes no part in any identity

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        row: dict[str, Any] = {"id": self.id}
        if self.prompt:
            row["prompt"] = self.prompt
        if self.messages:
            row["messages"] = [{"role": m.role, "content": m.content} for m in self.messages]
        if self.images:
            row["images"] = list(self.images)
        if self.answer is not None:
            row["answer"] = self.answer
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any], where: str = "") -> Problem:
        """Read what `to_json` wrote."""
        return Problem(
            id=row["id"],
            prompt=row.get("prompt", ""),
            messages=tuple(Message(m["role"], m["content"]) for m in row.get("messages", ())),
            images=tuple(row.get("images", ())),
            answer=row.get("answer"),
            metadata=row.get("metadata", {}),
            where=where,
        )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. `seed` is the run's seed: each sample's own comes from `sample_seed`."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 is off
    min_p: float = 0.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    n: int = 1
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The settings that shape one draw: without `n`, which only says how many."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            "seed": self.seed,
        }

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Sampling:
        """Read what `to_json` wrote."""
        return Sampling(**{**row, "stop": tuple(row.get("stop", ()))})


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked. `messages` go through the model's chat template when it has one, unless `raw`."""

    messages: tuple[Message, ...]
    images: tuple[str, ...] = ()
    raw: bool = False
    schema: Mapping[str, Any] | None = None  # a JSON schema for the reply: a wish that not every engine and server can grant

    @property
    def text(self) -> str:
        """The bare text, for a model without a template."""
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to be drawn: which, under which seed, and the key that names it for ever."""

    key: str
    index: int
    seed: int


@dataclass(frozen=True, slots=True)
class Watch:
    """When to give a sample up while it is being drawn (DeepConf online, arXiv 2508.15260).

    It is cut at the first token at which the mean token confidence of the last `window` tokens, full windows only, is below
    `least`. Token confidence: minus the mean of the 20 largest log-probabilities.
    """

    window: int
    least: float


OnText = Callable[[Draw, str], bool]
"""Told of a draw's text so far whenever it has grown, from any thread; False gives the draw up there.

What was told stays the beginning of the text. An engine that knows only whole answers never calls it.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """All that an engine is told: one prompt, one sampling, and the draws still owed. They share one prefill."""

    problem_id: str
    prompt: Prompt
    sampling: Sampling
    draws: tuple[Draw, ...]
    watch: Watch | None = None
    on_text: OnText | None = field(default=None, compare=False, repr=False)
