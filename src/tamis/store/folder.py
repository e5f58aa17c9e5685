"""`RunFolder`: opens, resumes, forks; appends samples and finds them again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from tamis.errors import RunFolderError
from tamis.records import Sample
from tamis.store.configuration import RUN_FILE, claim, read_run_file
from tamis.store.files import decode, encode, write_atomically
from tamis.store.index import Index
from tamis.store.journal import Journal, Scan, key_of, tells_failure
from tamis.store.lock import LOCK_NAME, WriterLock
from tamis.store.tokens import StatsError, TokenFile, slice_bytes

SAMPLES_FILE = "samples.jsonl"
TOKENS_FILE = "tokens.bin"
_SYNC_SECONDS = 1.0  # a crash of the machine, not of the process, may cost what was finished within this time


class RunFolder:
    """A folder of samples, made by `open` (the one writer; repairs) or by `read` (any number of readers; changes nothing).

    Attributes:
        path: The folder; a fork's is not the one that was asked for.
        config: What shapes the samples.
        facts: What else was true when the run began; takes no part in resuming.
        forked_from: The name of the folder beside this one that holds another configuration.
        warnings: One line for each kind of damage that was met. What is damaged is owed again.
    """

    def __init__(self, path: Path, *, lock: WriterLock | None, token_stats: Literal["full", "none"]) -> None:
        """Use `open` or `read`."""
        record = read_run_file(path)
        if record is None:
            raise RunFolderError(f"{path} is not a run folder: it has no {RUN_FILE}", "Check the path")
        self.path = path
        self.config: Mapping[str, Any] = record["config"]
        self.facts: Mapping[str, Any] = record.get("facts", {})
        self.forked_from: str | None = record.get("forked_from")
        self.warnings: list[str] = []
        self._lock = lock
        self._journal = Journal(path / SAMPLES_FILE, writable=lock is not None)
        scan = self._journal.scan()
        self._tokens = TokenFile(path / TOKENS_FILE, writable=lock is not None) if token_stats == "full" else None
        is_lost = self._reconcile(scan)
        self._index = Index(scan.keys, np.where(scan.failed | is_lost, ~scan.offsets, scan.offsets))
        if self._lock and is_lost.any():
            for key in scan.keys[is_lost].tolist():
                self._owe(key, "its statistics are missing from tokens.bin")
            self.sync()  # before new statistics may take the place that the lost ones had
        self._synced_at = time.monotonic()

    @classmethod
    def open(
        cls,
        path: Path | str,
        config: Mapping[str, Any],
        *,
        facts: Mapping[str, Any] | None = None,
        fork: bool = False,
        token_stats: Literal["full", "none"] = "full",
    ) -> Self:
        """Begin a run, or go on with it when the folder is there and has the same configuration.

        Args:
            path: The folder; made when it is not there.
            config: All that shapes a sample besides its problem: JSON values, nested as you like.
            facts: Versions and the like, kept when the run begins.
            fork: When the folder has another configuration, use the first of `<path>-2`, `<path>-3`, ... that has this one
                or is free. The same command with the same `fork` therefore resumes its own fork.
            token_stats: `none` neither writes nor reads statistics and chains.

        Raises:
            RunFolderError: Another configuration, another writer, or a folder that is not a run's.
        """
        folder, lock = claim(Path(path), config, facts or {}, fork=fork)
        try:
            return cls(folder, lock=lock, token_stats=token_stats)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def read(cls, path: Path | str, *, token_stats: Literal["full", "none"] = "full") -> Self:
        """Look at a run, finished or still being written: no lock, no repair, no change.

        Raises:
            RunFolderError: There is no run here.
        """
        return cls(Path(path), lock=None, token_stats=token_stats)

    # --- samples -------------------------------------------------------------------------------------------------

    def __contains__(self, key: str) -> bool:
        """Whether the sample of a key is finished."""
        place = self._index.get(int(key, 16))
        return place is not None and place >= 0

    @property
    def num_finished(self) -> int:
        """How many samples are finished."""
        return self._index.count_finished()

    def append(self, sample: Sample) -> None:
        """Keep a sample for good, failed or finished: statistics first, then its line; both are with the OS on return."""
        row = sample.to_json()
        line: dict[str, Any] = {"key": row.pop("key")}
        if sample.error:
            line["error"] = row.pop("error")
        elif self._tokens is not None and (sample.stats is not None or sample.chain is not None):
            line["stats"] = self._tokens.append(sample.stats, sample.chain)
        offset = self._journal.append(encode(line | row))
        self._index.put(int(sample.key, 16), ~offset if sample.error else offset)
        if time.monotonic() - self._synced_at > _SYNC_SECONDS:
            self.sync()

    def load(self, key: str) -> Sample | None:
        """The sample of a key, be it a failed one; None when there is none, or none that can be read (see `warnings`)."""
        place = self._index.get(int(key, 16))
        return None if place is None else self._sample(int(key, 16), place, self._journal.line(max(place, ~place)))

    def samples(self) -> Iterator[Sample]:
        """Every sample in the order of the journal, each key once; failures are left out once they are made good."""
        for offset, line in self._journal.lines():
            key = key_of(line)
            place = None if key is None else self._index.get(key)
            if key is not None and place in (offset, ~offset) and (sample := self._sample(key, place, line)):
                yield sample

    def _sample(self, key: int, place: int, line: bytes) -> Sample | None:
        if place < 0 and not tells_failure(line):  # known to be damaged
            return None
        try:
            row = decode(line)
            if "id" not in row:  # a debt
                return None
            stats, chain = self._tokens.read(row["stats"]) if self._tokens and "stats" in row else (None, None)
            return Sample.from_json(row, stats, chain)
        except StatsError as error:
            why = str(error)
        except (ValueError, KeyError, TypeError):
            why = "it cannot be read"
        self._warn(f"{SAMPLES_FILE}, key {key:016x}: {why}")
        if self._lock:
            self._owe(key, why)
        else:
            self._index.put(key, min(place, ~place))
        return None

    def _owe(self, key: int, why: str) -> None:
        """Supersede a damaged line by a debt, a bare line, so that later writers know without reading what is damaged."""
        debt = {"key": f"{key:016x}", "error": {"boundary": "store", "message": why}}
        self._index.put(key, ~self._journal.append(encode(debt)))

    # --- derived files -------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """The path of a file of this run.

        Raises:
            RunFolderError: The name leads out of the folder, or is one of the run's own files.
        """
        root = self.path.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise RunFolderError(f"{name} lies outside of {self.path}", "Name a file inside the run folder")
        if path.parent == root and path.name in (RUN_FILE, SAMPLES_FILE, TOKENS_FILE, LOCK_NAME):
            raise RunFolderError(f"{name} is kept by the run folder itself", "Choose another name")
        return path

    def write_json(self, name: str, value: Any) -> None:
        """Write or replace a small file as one act."""
        write_atomically(self.file(name), [encode(value)])

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write or replace a file of rows as one act."""
        write_atomically(self.file(name), map(encode, rows))

    # --- upkeep --------------------------------------------------------------------------------------------------

    def _reconcile(self, scan: Scan) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Repair, when this is the writer, what a kill or a crash has left; returns which rows have lost their statistics."""
        if scan.malformed:
            numbers = ", ".join(map(str, scan.malformed[:5])) + (", ..." if len(scan.malformed) > 5 else "")
            self._warn(f"{SAMPLES_FILE}: {len(scan.malformed)} lines cannot be read (line {numbers})")
        if self._lock:
            self._journal.cut_torn_line()
        if self._tokens is None:
            return np.zeros(len(scan.keys), np.bool_)
        is_lost = scan.stats_offsets >= self._tokens.size
        end = 0
        offsets = np.where(is_lost, -1, scan.stats_offsets)
        if (offsets >= 0).any():  # slices do not overlap: only the last can reach beyond the end of the file
            last = int(offsets.argmax())
            end = self._end_of_stats(int(scan.offsets[last]))
            if end > self._tokens.size:
                is_lost[last], end = True, int(offsets[last])
        if is_lost.any():
            self._warn(f"{TOKENS_FILE} ends too early: {np.count_nonzero(is_lost)} samples have lost their statistics")
        if self._lock and end < self._tokens.size and not scan.malformed:  # an unreadable line may point past the end
            self._tokens.cut(end)
        return is_lost

    def _end_of_stats(self, offset: int) -> int:
        """Where the statistics of the line at `offset` end; the end of the file if the line cannot be read."""
        with suppress(ValueError, KeyError, TypeError):
            stats = decode(self._journal.line(offset))["stats"]
            return int(stats["offset"]) + slice_bytes(stats)
        assert self._tokens is not None
        return self._tokens.size

    def _warn(self, what: str) -> None:
        self.warnings.append(f"{self.path}: {what}; owed again")

    def sync(self) -> None:
        """Bring all to the disk, statistics first; done about once a second, and at the end."""
        if self._tokens is not None:
            self._tokens.sync()
        self._journal.sync()
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Bring all to the disk and let the next writer in. Idempotent."""
        if self._lock:
            self.sync()
            self._lock.release()
            self._lock = None
        self._journal.close()
        if self._tokens is not None:
            self._tokens.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
