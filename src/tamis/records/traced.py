"""What interleaved reasoning leaves: texts and pictures in the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tamis.records.drawn import Image

RESULTS_FILE, SUMMARY_FILE, IMAGES_FOLDER = "results.jsonl", "summary.json", "output_images"
"""What the folder of a run holds: a row a sample, what the run was, and a folder of pictures a sample."""

CANDIDATES_FOLDER = "candidates"
CANDIDATE_IMAGES = f"{CANDIDATES_FOLDER}/images"
"""Where the run folder of all candidates is, and where in it their pictures are."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What came of one row; its pictures are paths as their file names them."""

    sample_id: int | str
    values: Mapping[str, Any] = field(default_factory=dict)  # the row of the problem, and whatever else stands beside
    parts: tuple[str | Image, ...] = ()  # what was written and drawn
    num_steps: int = 0  # texts, the answer among them
    truncated: bool = False  # it ended before the model was done
    error: str = ""  # why there is no answer; parts may be there all the same

    @property
    def text(self) -> str:
        """What was written, a step a paragraph."""
        return "\n\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[str, ...]:
        """The paths of what was drawn."""
        return tuple(part.path for part in self.parts if isinstance(part, Image))

    @property
    def num_images(self) -> int:
        """How many were drawn."""
        return len(self.images)
