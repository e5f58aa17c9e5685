"""The seams between Tamis and models: `Engine` (requests in, samples out) and `Reader` (texts in, what a model makes of them).

An engine is an object with a `describe` and a `stream`. `stream` pulls requests only as fast as it can place them (that is
the back pressure) and yields each sample the moment it is finished, in any order. What one draw gives depends on its
request and its seed alone, never on its neighbours. A draw that fails is yielded as a `Sample` with an `error`; an engine
that breaks as a whole raises `EngineError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tamis.records import Question, Reading, Request, Sample, Verdict


@runtime_checkable
class Engine(Protocol):
    """What `tamis.sample` needs of a model."""

    def describe(self) -> Mapping[str, Any]:
        """Name, model and versions, as they go into run.json: `{"engine": "hf", "model": ..., ...}`."""
        ...

    def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Draw every draw of every request; yield each sample as it finishes.

        Closing the iterator early (`aclose`) abandons what is in flight and frees the model's workspace.
        """
        ...

    def close(self) -> None:
        """Free the model. Idempotent."""
        ...


@runtime_checkable
class Reader(Protocol):
    """What scores need of a model that can be shown a text; an engine may be one too.

    Both methods pull lazily, yield in any order, and give each item once; what cannot be read comes with an `error`.
    """

    def read(self, readings: AsyncIterator[Reading]) -> AsyncGenerator[Sample, None]:
        """Each sample with the statistics and the chain that drawing it would have given; the text is not changed."""
        ...

    def ask(self, groups: AsyncIterator[Sequence[Question]]) -> AsyncGenerator[Verdict, None]:
        """The answer to each question, after each of its parts; the questions of a group share one `lead`."""
        ...
