"""From a run of rejection sampling to its files: each picture's as soon as it is there, the summary now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.config import Rejecting
from tamis.score.grading import Rejected
from tamis.sources import BadRow
from tamis.sources.prices import Price
from tamis.store.files import encode_readable, write_atomically
from tamis.summarise.rejection import Summary, Tally
from tamis.workflows.reject_files import SUMMARY_FILE, ResultFolders
from tamis.workflows.reject_summary import Now, summary_json
from tamis.workflows.rejecting import Rejection

_MOST_OF_THE_TIME = 0.05  # that summaries written on the way may take


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has come to, so far."""

    summary: Summary
    written: Mapping[str, Any]  # what summary.json says
    num_others: int  # files in the folders that are of pictures of other runs


class Results:
    """Takes in the pictures of a run and keeps its files.

    Attributes:
        config: The settings of the run.
    """

    def __init__(
        self,
        rejection: Rejection,
        config: Rejecting,
        facts: Mapping[str, Any],
        bad_rows: list[BadRow],
        *,
        interval: int = 5,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        """Make the folders and a first summary, which says with what settings a later resume goes on.

        Args:
            rejection: The run.
            config: Its settings.
            facts: Of the source: `image_dir` and what else a resume must know.
            bad_rows: Pictures that could not be read.
            interval: After so many pictures the summary is written anew, unless it has become too large for that.
            prices: Of tokens, by model.
        """
        self.config = config
        self._rejection, self._facts, self._bad_rows = rejection, facts, bad_rows
        self._interval, self._prices = interval, prices
        self._path = rejection.folder.path
        self._folders = ResultFolders(self._path)
        self._tally = Tally(config.threshold)
        self._num_taken = self._num_files = 0
        self._began = self._written_at = time.monotonic()
        self._cost_s = 0.0
        self.write_summary()

    async def run(self, notice: Callable[[Rejected, Path | None], None] = lambda *_: None) -> Outcome:
        """Draw, judge and keep every picture; the summary is right however this ends."""
        try:
            async with aclosing(self._rejection.results()) as results:
                async for rejected in results:
                    notice(rejected, self.take(rejected))
        finally:
            outcome = self.write_summary()
        return outcome

    def take(self, rejected: Rejected) -> Path | None:
        """Keep one picture; its file, if it has one."""
        path = self._folders.write(rejected)
        self._tally.add(rejected)
        self._num_taken += 1
        self._num_files += path is not None
        is_due = self._num_taken % self._interval == 0
        if is_due and time.monotonic() - self._written_at > self._cost_s / _MOST_OF_THE_TIME:
            self.write_summary()
        return path

    def write_summary(self) -> Outcome:
        """Bring summary.json up to what was taken in."""
        began = time.monotonic()
        summary = self._tally.summary()
        facts = {**self._facts, "num_images": self._rejection.num_images, "num_unreadable": len(self._bad_rows)}
        now = Now(round(began - self._began, 3), self._folders.num_changed, self._rejection.progress.samples_done)
        written = summary_json(summary, self.config, facts, now, beliefs=self._rejection.beliefs, prices=self._prices)
        write_atomically(self._path / SUMMARY_FILE, [encode_readable(written)])
        self._written_at = time.monotonic()
        self._cost_s = self._written_at - began
        return Outcome(summary, written, self._folders.count_others(self._num_files))
