"""The nouns: what flows from problems to choices. Frozen, slotted, JSON at rest.

    Problem --(prompt, Sampling)--> Request --(engine)--> Sample (+ TokenStats) --> Grade, Verdict, Score --> Choice
                                                          `--------- all of one problem: a Pool --------'

Everything here is a value: no I/O, no clock, no globals. `to_json` gives plain dicts without defaults, `from_json` reads
them back; files that hold records begin each line with the record's key, so that a resume need not parse them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RECORD_VERSION = 1

FinishReason = Literal["stop", "length", "cut", "error"]
"""`stop`: end token or stop string. `length`: cut at `max_tokens` (truncated). `cut`: given up half-way, see `Watch`.
`error`: see `Sample.error`."""


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


@dataclass(frozen=True, slots=True)
class Request:
    """All that an engine is told: one prompt, one sampling, and the draws still owed. They share one prefill."""

    problem_id: str
    prompt: Prompt
    sampling: Sampling
    draws: tuple[Draw, ...]
    watch: Watch | None = None


STATISTICS = ("logp", "rank", "entropy", "mean_logp", "sum_p2", "lp1", "lp2", "sum_top5", "sum_top20")
"""The nine sufficient statistics of a token (docs/methods.md): log-probability and rank of the sampled token, entropy,
mean over the vocabulary of the log-probability, sum of squared probabilities, the two largest log-probabilities, and the
sums of the 5 and 20 largest. Natural logarithms, of the raw distribution at temperature 1."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenStats:
    """What the model's distributions said at each generated token, the final end token left out.

    `values[t, i]` is `STATISTICS[i]` of the distribution that PRODUCED token t. `starts[t]` is the index in the sample's text
    of the first character of token t (a token that only completes a character starts where that character does).
    """

    values: NDArray[np.float32]  # (T, 9)
    ids: NDArray[np.int32]  # (T,) token ids
    starts: NDArray[np.int32]  # (T,) character offsets
    vocab_size: int  # V: the last dimension of the logits, padding rows included

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> NDArray[np.float64]:
        """One statistic as float64 (T,)."""
        return self.values[:, STATISTICS.index(name)].astype("float64")


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingChain:
    """How the mean hidden state moves from layer to layer (chain of embedding, arXiv 2410.13640): all that its scores need.

    Row 0 is of all generated tokens, row 1 + k of those that begin in step k (NaN where none does). With h_l the mean over
    the positions that PRODUCED the tokens, l = 0 (embedding) .. L, the columns are the L lengths ‖h_{l+1} - h_l‖, the L angles
    between h_l and h_{l+1} in radians, then length and angle between h_0 and h_L.
    """

    values: NDArray[np.float32]  # (1 + K, 2 L + 2)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture among a sample's parts: its path inside the run folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sample has no answer: the boundary that failed (engine, input, ...) and what it said."""

    boundary: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One answer drawn from a model, or the record of its failure."""

    key: str
    problem_id: str
    index: int
    seed: int
    sampling: Sampling
    parts: tuple[str | Image, ...] = ()
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0  # generated tokens, the end token left out
    seconds: float = 0.0  # from admission to finish; shared batches make it longer than the work
    error: Failure | None = None
    stats: TokenStats | None = None
    chain: EmbeddingChain | None = None
    verdicts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by who was asked, see `Verdict`; kept apart

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def truncated(self) -> bool:
        """Whether the sample was cut at `max_tokens`."""
        return self.finish_reason == "length"

    def to_json(self) -> dict[str, Any]:
        """As a plain dict, key first; statistics live in tokens.bin (see `tamis.store`)."""
        row: dict[str, Any] = {"key": self.key, "id": self.problem_id, "index": self.index, "seed": self.seed}
        row["sampling"] = self.sampling.to_json()
        if all(isinstance(part, str) for part in self.parts):
            row["text"] = self.text
        else:
            row["parts"] = [{"image": p.path} if isinstance(p, Image) else {"text": p} for p in self.parts]
        row["finish_reason"] = self.finish_reason
        row["prompt_tokens"] = self.prompt_tokens
        row["completion_tokens"] = self.completion_tokens
        row["seconds"] = round(self.seconds, 4)
        if self.error:
            row["error"] = {"boundary": self.error.boundary, "message": self.error.message}
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any], stats: TokenStats | None = None, chain: EmbeddingChain | None = None) -> Sample:
        """Read what `to_json` wrote."""
        if "parts" in row:
            parts = tuple(Image(p["image"]) if "image" in p else str(p["text"]) for p in row["parts"])
        else:
            parts = (row["text"],) if row["text"] else ()
        error = row.get("error")
        return Sample(
            key=row["key"],
            problem_id=row["id"],
            index=row["index"],
            seed=row["seed"],
            sampling=Sampling.from_json(row["sampling"]),
            parts=parts,
            finish_reason=row["finish_reason"],
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            seconds=row["seconds"],
            error=Failure(error["boundary"], error["message"]) if error else None,
            stats=stats,
            chain=chain,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Samples to be read by a model as if it had just drawn them, under the prompt that they answer: see `engines.base`."""

    prompt: Prompt
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked after each part of a text: it reads `lead`, part by part the text, and after each part `tail`.

    All of it is one user turn where the model has a chat template. The answer is the probability of the first option against
    the second; the options are words of which the first token, with or without a blank before it, tells them apart.
    """

    key: str  # of the sample that the text is
    lead: str  # the same for all samples of a problem: run once
    parts: tuple[str, ...]
    tail: str
    options: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model said of one sample: a number for each of its parts, or one for the whole; NaN where it said none."""

    key: str
    values: tuple[float, ...]
    error: Failure | None = None


Unscored = Literal[
    "no_answer",
    "no_statistics",
    "no_hidden_states",
    "no_reference",
    "not_asked",
    "empty",
    "undefined",
    "engine_error",
    "judge_failed",
    "timeout",
]
"""Why a value is missing. Never 0."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a sample answered, and whether that is right."""

    key: str
    answer: str | None  # None: no answer could be extracted
    correct: bool | None  # None: not graded, for `reason`
    reason: Unscored | None = None
    decided_by: str = ""  # exact, numeric, symbolic, ...: the rule that decided

    def to_json(self) -> dict[str, Any]:
        """As a plain dict, key first."""
        row: dict[str, Any] = {"key": self.key, "answer": self.answer, "correct": self.correct}
        if self.reason:
            row["reason"] = self.reason
        if self.decided_by:
            row["decided_by"] = self.decided_by
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Grade:
        """Read what `to_json` wrote."""
        return Grade(row["key"], row["answer"], row["correct"], row.get("reason"), row.get("decided_by", ""))


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's value for one sample; higher is better; None has a reason."""

    key: str
    scorer: str
    value: float | None
    reason: Unscored | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """One problem and all that is known of its samples; the tuples run parallel, in order of sample index."""

    problem: Problem
    samples: tuple[Sample, ...]
    grades: tuple[Grade, ...] = ()
    clusters: tuple[int, ...] = ()  # equivalence classes of the answers, numbered from 0; -1: no answer
    scores: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)  # scorer -> a value a sample


@dataclass(frozen=True, slots=True)
class Choice:
    """What a selector took: a sample's index, or None when it abstains (no sample has an answer)."""

    problem_id: str
    selector: str
    index: int | None
    answer: str | None = None
    votes: Mapping[str, float] = field(default_factory=dict)  # answer of each cluster's leader -> total
    accepted: bool = True  # False: a threshold was asked for and nothing reached it
    num_paid: int | None = None  # samples it had to see, the first so many; None: all

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        row: dict[str, Any] = {"id": self.problem_id, "selector": self.selector, "index": self.index, "answer": self.answer}
        if self.votes:
            row["votes"] = dict(self.votes)
        if not self.accepted:
            row["accepted"] = False
        if self.num_paid is not None:
            row["num_paid"] = self.num_paid
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Choice:
        """Read what `to_json` wrote."""
        votes, accepted = row.get("votes", {}), row.get("accepted", True)
        return Choice(row["id"], row["selector"], row["index"], row["answer"], votes, accepted, row.get("num_paid"))
