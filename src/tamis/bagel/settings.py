"""What can be set of interleaved reasoning, and what it takes and gives. Light: nothing here needs torch.

The defaults are those under which Zebra-CoT's model is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tamis.errors import UsageError
from tamis.records import Failure, TokenStats

if TYPE_CHECKING:
    from PIL.Image import Image

Renorm = Literal["text_channel", "global", "channel"]
"""What is not to grow under guidance: each token before the image's guidance, the whole picture, or each token after it."""

StopRule = Literal["answer", "signal", "either"]
"""A text that says a final answer; the model's own sign that an answer follows and no picture; whichever comes first."""

Ending = Literal["stop", "iterations", "length", "empty", "error"]
"""By the stop rule; after `max_iterations` pictures; at `max_tokens` of a text or where the context is full; in an empty text,
for which no picture can be drawn; see `error`."""

SYSTEM_PROMPT = (
    "You are an AI reasoning assistant capable of step-by-step interleaved text and visual chain of thought. Think step "
    "by step and use visual aids to enhance your problem-solving. Provide your final conclusion clearly in the format of "
    '"Final Answer: <answer here>"'
)


@dataclass(frozen=True, slots=True)
class Guidance:
    """How far a picture is driven from what it would be without the last text, and without the pictures before it."""

    text_scale: float = 4.0  # at most 1: no guidance at all
    image_scale: float = 2.0  # at most 1: none by pictures
    interval: tuple[float, float] = (0.0, 1.0)  # times (low, high] at which it is used
    renorm: Renorm = "text_channel"
    renorm_min: float = 0.0


@dataclass(frozen=True, slots=True)
class Interleaving:
    """How texts and pictures are drawn."""

    system_prompt: str = SYSTEM_PROMPT
    temperature: float = 0.3  # of texts; 0 is greedy
    max_tokens: int = 1000  # of one text
    max_iterations: int = 10  # pictures
    stop_rule: StopRule = "answer"
    num_steps: int = 50  # points in time of a picture, one more than there are moves
    shift: float = 3.0  # of the times towards noise
    guidance: Guidance = field(default_factory=Guidance)
    size: tuple[int, int] | None = None  # where the problem shows no picture; None: 1024x1024, or what the model draws at most
    problem_latents: bool = False  # whether its pictures are read as latents too, and not only seen
    sampled_latents: bool = True  # whether pictures are read at a point of their posterior, not at its mean
    batch_size: int = 8  # rows that advance together
    pack_tokens: int = 32_768  # latent tokens that are moved together at most, over all branches of guidance

    def check(self, names: Mapping[str, str] | None = None) -> None:
        """Refuse what cannot be; `names` are those under which a user knows the settings.

        Raises:
            UsageError: With the setting and its value.
        """
        low, high = self.guidance.interval
        for name, value, is_right, wanted in (
            ("temperature", self.temperature, 0 <= self.temperature < float("inf"), "0 or more"),
            ("max_tokens", self.max_tokens, self.max_tokens >= 1, "1 or more"),
            ("max_iterations", self.max_iterations, self.max_iterations >= 0, "0 or more"),
            ("num_steps", self.num_steps, self.num_steps >= 2, "2 or more"),
            ("shift", self.shift, 0 < self.shift < float("inf"), "a number above 0"),
            ("text_scale", self.guidance.text_scale, abs(self.guidance.text_scale) < float("inf"), "a number"),
            ("image_scale", self.guidance.image_scale, abs(self.guidance.image_scale) < float("inf"), "a number"),
            ("interval", self.guidance.interval, 0 <= low <= high <= 1, "two times between 0 and 1, the lower first"),
            ("renorm_min", self.guidance.renorm_min, 0 <= self.guidance.renorm_min <= 1, "between 0 and 1"),
            ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
            ("pack_tokens", self.pack_tokens, self.pack_tokens >= 1, "1 or more"),
            ("stop_rule", self.stop_rule, self.stop_rule in get_args(StopRule), f"one of {get_args(StopRule)}"),
            ("renorm", self.guidance.renorm, self.guidance.renorm in get_args(Renorm), f"one of {get_args(Renorm)}"),
            ("size", self.size, self.size is None or min(self.size) >= 1, "a width and a height"),
        ):
            if not is_right:
                raise UsageError(f"{(names or {}).get(name, name)}: {value} cannot be", f"Use {wanted}")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """One row: texts and pictures in their order, and the seed by which everything of it is drawn."""

    id: str
    items: tuple[str | Path | Image, ...]  # the file of a picture is opened when the row's turn comes
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed: {self.seed} cannot be", "Use 0 or more")


@dataclass(frozen=True, slots=True)
class Thought:
    """A text that the model wrote."""

    text: str
    stats: TokenStats


@dataclass(frozen=True, slots=True)
class Solution:
    """What came of a row: its thoughts and pictures in their order, also those before a failure."""

    id: str
    parts: tuple[Thought | Image, ...]
    ending: Ending
    error: Failure | None = None
    seconds: float = 0.0  # from admission; shared batches make it longer than the work
