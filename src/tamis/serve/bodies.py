"""What a request may say. The types are the documentation too: they are what /openapi.json holds.

Fields of OpenAI's protocol that would change the answer and cannot be granted take only the value that asks for nothing; all
fields that are not listed are left out of account, as OpenAI's clients expect, and named in the answer (`tamis.ignored`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tamis.config import AdaptiveRule
from tamis.select import FREE

MOST_STOPS = 16
_LARGEST_SEED = 2**63 - 1


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)  # 5.0 is a whole number in JSON
Count = Annotated[int, Field(ge=1), _WHOLE]
TopK = Annotated[int, Field(ge=-1, lt=2**31), _WHOLE]
Seed = Annotated[int, Field(ge=-_LARGEST_SEED, le=_LARGEST_SEED), _WHOLE]
NoCount = Annotated[int, Field(ge=0, le=0), _WHOLE]
One = Annotated[int, Field(ge=1, le=1), _WHOLE]
NOT_GRANTED = "Not granted here."
Off = Annotated[Literal[False] | None, Field(description=NOT_GRANTED)]
Empty = Annotated[list[Any] | None, Field(max_length=0, description=NOT_GRANTED)]
Zero = Annotated[float | None, Field(ge=0, le=0, description=NOT_GRANTED)]
Null = Annotated[None, Field(description=NOT_GRANTED)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """No value is made another: "5" is not 5."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Choosing(Strict):
    """How the best of several answers is chosen; what is left out here may be said by the model's name."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    n: Count | None = Field(None, description="Answers drawn; with `adaptive`, at most.")
    method: str | None = Field(
        None, description="What takes one of them.", json_schema_extra={"anyOf": [{"enum": list(FREE)}, {"type": "null"}]}
    )
    adaptive: AdaptiveRule | None = Field(None, description="Draw only until the answers settle which one wins, by this rule.")
    threshold: float | None = Field(None, gt=0.5, lt=1, description="How sure `adaptive` must be; esc takes none.")


class StreamOptions(Strict):
    """What a stream holds besides the texts."""

    include_usage: bool | None = Field(None, description="A last event with the counts of tokens.")


class Body(Strict):
    """What both endpoints take."""

    model: str = Field(description="The model, or MODEL@METHOD, or MODEL@METHOD:N: the best of N answers.")
    n: Count | None = Field(None, description="Choices in the reply; of several drawn by `tamis.n`, the best first.")
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, description="0 is greedy; 1 if not given.")
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: TopK | None = Field(None, description="0 and -1 are off.")
    min_p: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    max_tokens: Count | None = Field(None, description="Of each answer drawn.")
    stop: Text | Annotated[list[Text], Field(max_length=MOST_STOPS)] | None = None
    seed: Seed | None = Field(None, description="The same seed gives the same answer.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tamis: Choosing | None = None
    frequency_penalty: Zero = None
    presence_penalty: Zero = None
    logit_bias: Annotated[dict[str, Any] | None, Field(max_length=0, description=NOT_GRANTED)] = None


class TextPart(Strict):
    """A part of a message; parts are joined by line breaks."""

    type: Literal["text"]
    text: str


class Turn(Strict):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None


class ResponseFormat(Strict):
    """Only plain text is granted."""

    type: Literal["text"]


class ChatBody(Body):
    """A request to /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: Count | None = Field(None, description="`max_tokens` by its newer name; goes before it.")
    logprobs: Off = None
    top_logprobs: Annotated[NoCount | None, Field(description=NOT_GRANTED)] = None
    tools: Empty = None
    functions: Empty = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens of an answer; None: nothing is said."""
        return self.max_completion_tokens or self.max_tokens


class CompletionBody(Body):
    """A request to /v1/completions."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)] = Field(description="One text.")
    logprobs: Null = None
    best_of: Annotated[One | None, Field(description=f"{NOT_GRANTED} See `tamis.n`.")] = None
    echo: Off = None
    suffix: Null = None

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens of an answer; None: nothing is said."""
        return self.max_tokens


def ignored(body: Body) -> list[str]:
    """The fields that have no effect."""
    return sorted(body.model_extra or {})
