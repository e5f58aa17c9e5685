"""From an answer to OpenAI's form of it, with what we know more of it in `tamis`."""

from __future__ import annotations

import math
import time
from secrets import token_hex
from typing import Any

from tamis.records import Choice, Sample
from tamis.score import why_unscored
from tamis.select import choose
from tamis.serve.asking import Asked
from tamis.workflows.answering import Answer, ranked

_FINISHED = {"stop": "stop", "length": "length", "cut": "length"}
"""OpenAI's words for how an answer ended; what was given up half-way is one that is cut off."""


class Reply:
    """The reply to one request, whole or in pieces."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._id = f"{'chatcmpl' if asked.is_chat else 'cmpl'}-{token_hex(12)}"
        self._created = int(time.time())
        self._chunk = "chat.completion.chunk" if asked.is_chat else "text_completion"

    def whole(self, answered: Answer) -> dict[str, Any]:
        """The reply in one piece."""
        samples = ranked(answered, self.asked.num_choices)
        rows = [self._row(place, sample.text, sample) for place, sample in enumerate(samples)]
        kind = "chat.completion" if self.asked.is_chat else "text_completion"
        return {**self._frame(kind), "choices": rows, "usage": usage(answered), "tamis": told(self.asked, answered)}

    def _row(self, place: int, text: str, sample: Sample) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.asked.is_chat else {"text": text}
        return {"index": place, **said, "logprobs": None, "finish_reason": finish_reason(sample)}

    def piece(self, place: int, text: str, *, is_first: bool = False) -> dict[str, Any]:
        """A piece of the text of one choice."""
        return self._event(place, text, {"role": "assistant"} if is_first else {}, None)

    def end(self, place: int, sample: Sample) -> dict[str, Any]:
        """The end of one choice."""
        return self._event(place, "", {}, finish_reason(sample))

    def counts(self, answered: Answer) -> dict[str, Any]:
        """The counts of tokens: an event without a choice."""
        return {**self._frame(self._chunk), "choices": [], "usage": usage(answered)}

    def _event(self, place: int, text: str, delta: dict[str, Any], ended: str | None) -> dict[str, Any]:
        if self.asked.is_chat:
            said: dict[str, Any] = {"delta": delta if ended else {**delta, "content": text}}
        else:
            said = {"text": text}
        return {**self._frame(self._chunk), "choices": [{"index": place, **said, "logprobs": None, "finish_reason": ended}]}

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self.asked.model}


def finish_reason(sample: Sample) -> str:
    """How an answer ended, in OpenAI's words."""
    return _FINISHED[sample.finish_reason]


def usage(answered: Answer) -> dict[str, int]:
    """The tokens paid for: the prompt once, and of all answers drawn."""
    samples = answered.pool.samples
    prompt = max((sample.prompt_tokens for sample in samples), default=0)
    written = sum(sample.completion_tokens for sample in samples)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def told(asked: Asked, answered: Answer) -> dict[str, Any]:
    """What we know of an answer beyond OpenAI's protocol."""
    order, choice = asked.order, answered.choice
    found: dict[str, Any] = {"seed": order.sampling.seed, "ignored": asked.ignored}
    if choice is None:
        return found | {"method": None}
    rows = [_candidate(answered, place) for place in range(len(answered.pool.samples))]
    best = ranked(answered, 1)[0].index
    return found | {
        "method": choice.selector,
        "adaptive": order.adaptive.rule if order.adaptive else None,
        "n": len(rows),
        "chosen": next(row for row in rows if row["index"] == best),
        "abstained": choice.index is None,  # no answer can be read off the texts: the first of them is given
        "votes": _votes(choice),
        "counts": {answer: int(votes) for answer, votes in choose(answered.pool, "self-consistency").votes.items()},
        "alternatives": [row for row in rows if row["index"] != best],
    }


def _candidate(answered: Answer, place: int) -> dict[str, Any]:
    pool, choice = answered.pool, answered.choice
    assert choice is not None
    sample = pool.samples[place]
    row: dict[str, Any] = {"index": sample.index, "text": sample.text, "answer": pool.grades[place].answer}
    row["score"] = None
    for name, values in pool.scores.items():  # of the one scorer of the method
        row["score"] = values[place]
        if values[place] is None:
            row["unscored"] = why_unscored(sample, name)
    row |= {"finish_reason": sample.finish_reason, "completion_tokens": sample.completion_tokens}
    return row


def _votes(choice: Choice) -> dict[str, float]:
    """The votes of each answer; an infinite weight cannot be said in JSON."""
    return {answer: votes for answer, votes in choice.votes.items() if math.isfinite(votes)}
