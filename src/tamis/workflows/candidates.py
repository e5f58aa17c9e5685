"""The candidates of a rejection run: what names each, which are in the run folder, and how those that are owed come there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from tamis.config import Arm, Rejecting
from tamis.errors import RunFolderError
from tamis.identity import sample_keys, seed_of
from tamis.records import Draw, Message, Problem, Prompt, Request, Sample, Sampling
from tamis.sample import Progress
from tamis.sample.desk import Desk
from tamis.sample.strategies import Turn
from tamis.sources import BadRow
from tamis.store import RunFolder
from tamis.workflows.models import model_identity


@dataclass(frozen=True, slots=True)
class Wanted:
    """A candidate that an image shall have."""

    arm: Arm
    key: str
    request: Request  # that draws it


class Candidates:
    """Those of a run folder.

    A candidate is named by its image's id and content, its prompt, its arm, and how many of this arm the image had before,
    never by the strategy that asked for it. Its name and its seed are those of the `max_tokens` that the run began with:
    under a larger one the same draw goes further, and takes the place of what was cut off.
    """

    def __init__(self, config: Rejecting, folder: RunFolder, progress: Progress, bad_rows: list[BadRow]) -> None:
        """Note where they are kept, counted and complained of."""
        self._config, self._folder, self._progress, self._bad_rows = config, folder, progress, bad_rows
        self._first_max_tokens: int = folder.config["max_tokens"]

    def wanted(self, problem: Problem, marks: tuple[str, ...], turns: Iterable[Turn]) -> list[Wanted]:
        """What turns ask for; `marks` name the contents of the pictures."""
        return [self._wanted(problem, marks, turn) for turn in turns]

    def found(self, problem: Problem, marks: tuple[str, ...]) -> list[Wanted]:
        """All of the image and the grid that are in the folder, whatever strategy asked for them, in the order of the grid."""
        found: list[Wanted] = []
        for index in count():
            row = (self._wanted(problem, marks, Turn(arm, index)) for arm in dict.fromkeys(self._config.arms))
            there = [wanted for wanted in row if wanted.key in self._folder]
            if not there:
                return found
            found += there
        raise AssertionError("a folder is finite")

    async def draw(self, wanted: Wanted, desk: Desk) -> None:
        """See to it that it is in the folder, as it shall be."""
        is_known = wanted.key in self._folder
        if is_known and not self._is_cut_off(wanted):
            self._progress.samples_reused += 1
            return
        sample = await desk.draw(wanted.request)
        self._progress.count(sample)
        if sample.error and is_known:  # what was cut off is better than nothing
            reason = f"not extended: {sample.error.boundary}: {sample.error.message}"
            self._bad_rows.append(BadRow(sample.problem_id, "", reason))
        else:
            self._folder.append(sample)

    def load(self, wanted: Wanted) -> Sample | None:
        """What is in the folder, be it a failure."""
        return self._folder.load(wanted.key)

    def _is_cut_off(self, wanted: Wanted) -> bool:
        """Whether it was cut off earlier than it need be now, and shall be drawn again."""
        sample = self._folder.load(wanted.key) if self._config.extend_truncated else None
        return sample is not None and sample.truncated and sample.sampling.max_tokens < self._config.max_tokens

    def _wanted(self, problem: Problem, marks: tuple[str, ...], turn: Turn) -> Wanted:
        config, arm = self._config, turn.arm
        prompt = Prompt((Message("user", config.prompts[arm.prompt_key]),), problem.images)
        now = Sampling(float(arm.temperature), float(arm.top_p), arm.top_k, max_tokens=config.max_tokens, seed=config.seed)
        at_first = replace(now, max_tokens=self._first_max_tokens)
        (key,) = sample_keys(problem.id, replace(prompt, images=marks), at_first, [turn.index])
        return Wanted(arm, key, Request(problem.id, prompt, now, (Draw(key, turn.index, seed_of(key)),)))


def file_marks(images: Iterable[str]) -> tuple[str, ...]:
    """A name for the content of each picture, so that a picture that was replaced is another; the path where there is none."""
    return tuple(map(_file_mark, images))


def _file_mark(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except (OSError, ValueError):  # the draw says what is wrong with it
        return path


def run_identity(config: Rejecting, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the candidates: a run folder holds those of one identity. Images, grid, number and strategy may change.

    Beside what is `recorded` prompts may be added, not changed; and where what was cut off shall be drawn again, the limit
    may grow.

    Raises:
        RunFolderError: The limit grew, and nobody said what becomes of what was cut off.
    """
    identity = {
        "workflow": "reject",
        **model_identity(config.generator),
        "prompts": dict(config.prompts),
        "max_tokens": config.max_tokens,
        "seed": config.seed,
    }
    if config.fork or recorded.get("workflow") != "reject":
        return identity
    prompts: Mapping[str, str] = recorded["prompts"]
    if all(prompts.get(key, text) == text for key, text in config.prompts.items()):
        identity["prompts"] = prompts
    if recorded["max_tokens"] < config.max_tokens:
        if not (config.extend_truncated or config.rejudge):
            message = f"{config.output_dir} was begun with at most {recorded['max_tokens']} tokens an answer"
            raise RunFolderError(message, "Add --extend-truncated to draw again what was cut off, or --fork to begin anew")
        identity["max_tokens"] = recorded["max_tokens"]
    return identity
