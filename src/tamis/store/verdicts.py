"""verdicts.jsonl: what one model was asked of samples and said, a line a sample, append-only; kept like a run's samples.

    {"key":"0123456789abcdef","values":[0.91,null]}     null: it said nothing that could be read
    {"key":"0123456789abcdef","error":{...}}            failed: owed again

The folder's run.json says who was asked, and how: other configurations are refused, or go into a fork beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tamis.errors import RunFolderError
from tamis.records import Verdict
from tamis.store.configuration import claim
from tamis.store.files import decode, encode
from tamis.store.index import Index
from tamis.store.journal import Journal
from tamis.store.lock import WriterLock

VERDICTS_FILE = "verdicts.jsonl"


class VerdictFolder:
    """The verdicts of one who was asked, by key; made by `open` (the one writer) or `read`."""

    def __init__(self, path: Path, *, lock: WriterLock | None) -> None:
        """Use `open` or `read`."""
        self.path = path
        self._lock = lock
        self._journal = Journal(path / VERDICTS_FILE, writable=lock is not None)
        scan = self._journal.scan()
        if lock is not None:
            self._journal.cut_torn_line()
        self._index = Index(scan.keys, np.where(scan.failed, ~scan.offsets, scan.offsets))

    @classmethod
    def open(cls, path: Path, config: Mapping[str, Any], *, facts: Mapping[str, Any] | None = None, fork: bool = False) -> Self:
        """Begin to ask, or go on with it.

        Raises:
            RunFolderError: The folder holds the verdicts of another, or is being written.
        """
        folder, lock = claim(path, config, facts or {}, fork=fork)
        try:
            return cls(folder, lock=lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def read(cls, path: Path) -> Self:
        """Look at what was said so far; changes nothing."""
        return cls(path, lock=None)

    def __contains__(self, key: str) -> bool:
        """Whether there is a verdict for a key."""
        place = self._index.get(int(key, 16))
        return place is not None and place >= 0

    def get(self, key: str) -> tuple[float, ...] | None:
        """The numbers of a key's verdict, NaN where nothing was said; None when there is no verdict.

        Raises:
            RunFolderError: The line cannot be read.
        """
        place = self._index.get(int(key, 16))
        if place is None or place < 0:
            return None
        try:
            return tuple(math.nan if value is None else float(value) for value in decode(self._journal.line(place))["values"])
        except (ValueError, KeyError, TypeError) as error:
            message = f"{self.path / VERDICTS_FILE}: the line of key {key} cannot be read"
            raise RunFolderError(message, "Delete that line; the next `tamis score` asks again") from error

    def append(self, verdict: Verdict) -> None:
        """Keep a verdict for good."""
        line: dict[str, Any] = {"key": verdict.key}
        if verdict.error:
            line["error"] = {"boundary": verdict.error.boundary, "message": verdict.error.message}
        else:
            line["values"] = [None if math.isnan(value) else value for value in verdict.values]
        offset = self._journal.append(encode(line))
        self._index.put(int(verdict.key, 16), ~offset if verdict.error else offset)

    def close(self) -> None:
        """Bring all to the disk and let the next writer in. Idempotent."""
        if self._lock:
            self._journal.sync()
            self._lock.release()
            self._lock = None
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
