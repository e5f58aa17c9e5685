"""scores.jsonl: every sample's scores in a row, and why those that are missing are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tamis.config import ScoreSettings
from tamis.score import with_scores
from tamis.store import RowFile
from tamis.workflows.earlier import Earlier
from tamis.workflows.examining import score_cells


@dataclass(slots=True)
class ScoreLine:
    """What one scorer made of all samples."""

    num_scored: int = 0
    mean: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)  # why the others have no value

    def add(self, value: float | None, reason: str | None) -> None:
        """Take in one sample's value, or why it has none."""
        if value is None:
            self.reasons[str(reason)] += 1
        else:
            self.num_scored += 1
            self.mean += (value - self.mean) / self.num_scored


@dataclass(frozen=True, slots=True)
class Scored:
    """The file of scores, and what is in it."""

    path: Path
    scorers: Mapping[str, ScoreLine]


def write_scores(earlier: Earlier, scorers: Sequence[str], settings: ScoreSettings) -> Scored:
    """Write scores.jsonl into the scores folder: a row a sample, in order."""
    lines = {name: ScoreLine() for name in scorers}
    path = earlier.home / "scores.jsonl"
    with RowFile(path) as rows:
        for pool in earlier.pools():
            scored = with_scores(pool, scorers, settings)
            for i, sample in enumerate(pool.samples):
                cells = score_cells(scored, scorers, i)
                for name in scorers:
                    lines[name].add(cells["scores"][name], cells.get("unscored", {}).get(name))
                rows.write({"key": sample.key, "id": sample.problem_id, "index": sample.index, **cells})
    return Scored(path, lines)
