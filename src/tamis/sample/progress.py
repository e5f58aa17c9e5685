"""How far a run is: counts that a command line polls."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tamis.records import Sample


@dataclass(slots=True)
class Progress:
    """Counts since `started`; the sampling loop alone changes them."""

    problems_seen: int = 0  # taken from the source
    problems_skipped: int = 0  # nothing was owed, or already asked for in this run
    problems_finished: int = 0  # all samples in, the failed included
    samples_reused: int = 0  # finished before, found in the journal
    samples_done: int = 0  # drawn now, without error
    samples_failed: int = 0
    samples_truncated: int = 0  # of those done: cut at max_tokens
    samples_repeated: int = 0  # not asked for, or given twice by the engine: dropped
    samples_damaged: int = 0  # finished before, but not to be read any more: owed to the next run
    tokens: int = 0  # generated, of those done
    started: float = field(default_factory=time.monotonic)  # seconds on the monotonic clock

    def count(self, sample: Sample) -> None:
        """Take in one sample that came from the engine."""
        if sample.error:
            self.samples_failed += 1
            return
        self.samples_done += 1
        self.samples_truncated += sample.truncated
        self.tokens += sample.completion_tokens
