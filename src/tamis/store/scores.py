"""scores/: what models were asked of samples after these were drawn, beside the run folder's or the file's samples.

<run folder>/scores/  or  <file>.scores/
readings/    a run folder: the samples again, with the statistics of a forward pass
<asked>/     run.json, verdicts.jsonl: self-eval, p-true, reward, judge, usc (see `verdicts`)
replies/   a run folder: what a judge wrote
A fork (`self-eval-2`) stands beside the first; the newest is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tamis.errors import RunFolderError
from tamis.identity import pool_keys, text_key
from tamis.records import Pool, Sample
from tamis.store.configuration import RUN_FILE, differences, is_unused, read_run_file
from tamis.store.files import decode, encode
from tamis.store.folder import RunFolder
from tamis.store.verdicts import VerdictFolder

READINGS = "readings"


class ScoreFolder:
    """Everything in a scores folder, open for reading."""

    def __init__(self, path: Path) -> None:
        """Open what is there, be it nothing."""
        self._stack = ExitStack()
        self._readings: RunFolder | None = None
        self._verdicts: dict[str, VerdictFolder] = {}
        for name, folder in _newest(path).items():
            if name == READINGS:
                self._readings = self._stack.enter_context(RunFolder.read(folder))
            else:
                self._verdicts[name] = self._stack.enter_context(VerdictFolder.read(folder))

    def fill(self, pool: Pool) -> Pool:
        """The pool, its samples with the statistics that they lack and the verdicts that there are."""
        if self._readings is None and not self._verdicts:
            return pool
        samples = [self._read_again(sample) for sample in pool.samples]
        for asked, folder in self._verdicts.items():
            for i, key in enumerate(verdict_keys(asked, pool)):
                values = None if samples[i].error else folder.get(key)
                if values is not None:
                    samples[i] = replace(samples[i], verdicts={**samples[i].verdicts, asked: values})
        return replace(pool, samples=tuple(samples))

    def _read_again(self, sample: Sample) -> Sample:
        if self._readings is None or sample.error or (sample.stats is not None and sample.chain is not None):
            return sample
        found = self._readings.load(text_key(sample))
        if found is None or found.error:
            return sample
        stats, chain = sample.stats or found.stats, sample.chain or found.chain
        return replace(sample, stats=stats, chain=chain, completion_tokens=sample.completion_tokens or found.completion_tokens)

    @property
    def warnings(self) -> list[str]:
        """What could not be read."""
        return self._readings.warnings if self._readings else []

    def close(self) -> None:
        """Idempotent."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def verdict_keys(asked: str, pool: Pool) -> list[str]:
    """By what each sample's verdict is found: its text, or all texts of the problem where these were judged together."""
    return pool_keys(pool) if asked == "usc" else [text_key(sample) for sample in pool.samples]


def find_asked(path: Path, config: Mapping[str, Any], *, fork: bool) -> Path | None:
    """The folder of this asker, be it `path` or a fork of it, from now on the one that is read; None: it is to be begun.

    Raises:
        RunFolderError: `path` is another asker's, and there is to be no fork.
    """
    config = decode(encode(config))
    folders = [folder for folder in _folders(path.parent) if _name(folder) == path.name]
    for folder in folders:
        record = read_run_file(folder)
        if record and record["config"] == config:
            os.utime(folder / RUN_FILE)
            return folder
    if folders and not fork and not is_unused(path):
        changes = ", ".join(differences((read_run_file(path) or {"config": {}})["config"], config))
        advice = "Add --fork to ask anew and keep both, or name who was asked before"
        raise RunFolderError(f"{path} is of another model or another wording: {changes}", advice)
    return None


def _newest(path: Path) -> dict[str, Path]:
    """Who was asked -> the folder that was used last."""
    by_time = sorted(_folders(path), key=lambda folder: ((folder / RUN_FILE).stat().st_mtime_ns, folder))
    return {_name(folder): folder for folder in by_time}


def _folders(path: Path) -> list[Path]:
    return [folder for folder in sorted(path.iterdir()) if (folder / RUN_FILE).is_file()] if path.is_dir() else []


def _name(folder: Path) -> str:
    return re.sub(r"-\d+$", "", folder.name)
