"""What is drawn: samples, and what the model's distributions said at each of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tamis.records.asked import Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RECORD_VERSION = 1

FinishReason = Literal["stop", "length", "cut", "error"]
"""`stop`: end token or stop string. `length`: cut at `max_tokens` (truncated). `cut`: given up half-way, see `Watch`.
`error`: see `Sample.error`."""

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
    unsent: tuple[str, ...] = ()  # fields that the server refuses: the sample was drawn without them

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
        row |= {"finish_reason": self.finish_reason, "prompt_tokens": self.prompt_tokens}
        row |= {"completion_tokens": self.completion_tokens, "seconds": round(self.seconds, 4)}
        if self.unsent:
            row["unsent"] = list(self.unsent)
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
            unsent=tuple(row.get("unsent", ())),
        )
