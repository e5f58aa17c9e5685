"""The forms of what the service says, for its document; `replies` and `refusals` fill them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Error(BaseModel):
    """What went wrong, in one line."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """Every answer that is none."""

    error: Error


class Usage(BaseModel):
    """Tokens: of the prompt once, and of all answers drawn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Candidate(BaseModel):
    """One of the answers that were drawn."""

    index: int
    text: str
    answer: str | None = Field(description="What can be read off the text as its final answer.")
    score: float | None = Field(description="By the method's score; null: it has none, or the method goes by none.")
    unscored: str | None = Field(None, description="Why the score is missing.")
    finish_reason: Literal["stop", "length", "cut", "error"]
    completion_tokens: int


class Told(BaseModel):
    """What is known of an answer beyond OpenAI's protocol. Without a method: `seed`, `ignored` and `method` alone."""

    seed: int = Field(description="The same seed gives the same answer.")
    ignored: list[str] = Field(description="Fields of the request that had no effect.")
    method: str | None
    adaptive: str | None = None
    n: int | None = Field(None, description="How many answers were drawn.")
    chosen: Candidate | None = None
    abstained: bool | None = Field(None, description="No final answer could be read off any text: the first is given.")
    votes: dict[str, float] | None = Field(None, description="Of each final answer, where the method votes.")
    counts: dict[str, int] | None = Field(None, description="How many of the answers drawn end in each final answer.")
    alternatives: list[Candidate] | None = None


class ChatMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatReply(BaseModel):
    """The reply to a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    tamis: Told


class CompletionChoice(BaseModel):
    """One answer."""

    index: int
    text: str
    logprobs: None
    finish_reason: Literal["stop", "length"]


class CompletionReply(BaseModel):
    """The reply to a prompt."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    tamis: Told


class Model(BaseModel):
    """A name that `model` may have."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["tamis"]


class Models(BaseModel):
    """The model, and a name for each method by which it may be asked; `:N` may follow."""

    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    """Whether the service takes requests."""

    status: Literal["ok", "closing", "broken"]
