"""run.json: which configuration a folder belongs to, and who may write there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from tamis.errors import RunFolderError
from tamis.records import RECORD_VERSION
from tamis.store.files import decode, encode, write_atomically
from tamis.store.lock import WriterLock

RUN_FILE = "run.json"
_MAX_SHOWN = 60  # characters of a value in a message


def read_run_file(folder: Path) -> dict[str, Any] | None:
    """The content of run.json; None when there is none.

    Raises:
        RunFolderError: It cannot be read, or a newer version of Tamis wrote it.
    """
    path = folder / RUN_FILE
    try:
        record = decode(path.read_bytes())
        version, _ = int(record["version"]), record["config"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read", "Restore it, or name another folder") from error
    if version > RECORD_VERSION:
        raise RunFolderError(f"{path} was written by a newer version of Tamis", "Update Tamis")
    return dict(record)


def claim(path: Path, config: Mapping[str, Any], facts: Mapping[str, Any], *, fork: bool) -> tuple[Path, WriterLock]:
    """The folder that holds or shall hold this configuration, locked, with its run.json written.

    Raises:
        RunFolderError: See `RunFolder.open`.
    """
    config = decode(encode(config))  # as it will be read: tuples are lists
    try:
        for folder in _siblings(path) if fork else [path]:
            record = read_run_file(folder)
            if record and record["config"] != config and (fork or not is_unused(folder)):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(folder)
            try:
                if _begin(folder, config, facts, path.name if folder != path else None):
                    return folder, lock
            except BaseException:
                lock.release()
                raise
            lock.release()
    except OSError as error:
        raise RunFolderError(f"cannot write {error.filename or path}: {error.strerror}", "Name another folder") from error
    record = read_run_file(path)
    assert record is not None
    changes = ", ".join(differences(record["config"], config))
    advice = "Add --fork to begin a new run beside it, or name another folder"
    raise RunFolderError(f"{path} holds samples of another configuration: {changes}", advice)


def is_unused(folder: Path) -> bool:
    """Whether nothing was ever kept there, not even a failure: a command that failed at once does not bind the next one."""
    return not any(path.stat().st_size for path in folder.rglob("*.jsonl"))


def _siblings(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _begin(folder: Path, config: Any, facts: Mapping[str, Any], forked_from: str | None) -> bool:
    """Write run.json into a new or unused folder; whether the folder, new or not, has this configuration. The lock is held."""
    record = read_run_file(folder)
    if record is None and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty and is not a run folder: it has no {RUN_FILE}", "Name another folder")
    if record is None or (record["config"] != config and is_unused(folder)):
        record = {"version": RECORD_VERSION, "config": config, "facts": dict(facts)}
        record["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        if forked_from:
            record["forked_from"] = forked_from
        write_atomically(folder / RUN_FILE, [encode(record)])
    return bool(record["config"] == config)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Each key that differs, as `sampling.temperature: 0.7 -> 0.1`."""
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, f"{prefix}{key}.")
        elif before != after or (key in old) != (key in new):
            yield f"{prefix}{key}: {_change(_shown(old, key), _shown(new, key))}"


def _shown(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(not set)"
    return values[key] if isinstance(values[key], str) else encode(values[key]).decode()


def _change(before: str, after: str) -> str:
    """Both values on one line; of long ones, the place where they part."""
    same = next((place for place, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    start = same - 20 if same > 30 else 0
    return " -> ".join(repr(_excerpt(text, start))[1:-1] for text in (before, after))


def _excerpt(text: str, start: int) -> str:
    end = start + _MAX_SHOWN
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")
