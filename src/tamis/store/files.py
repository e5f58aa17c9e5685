"""Bytes to disk: rows as JSON lines, whole appends, atomic rewrites."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from tamis.errors import RunFolderError


def encode(row: Any) -> bytes:
    """A value as one line of compact JSON, without the newline; NaN and infinities become null.

    Half a surrogate pair, which a model can produce and UTF-8 cannot hold, is written as an escape.
    """
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError:
        return json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def encode_readable(value: Any) -> bytes:
    """The same over many lines, for files that people read."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=True, indent=2).encode("ascii")


def decode(line: bytes) -> Any:
    """Read what `encode` wrote.

    Raises:
        ValueError: The line is not JSON.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def append_whole(descriptor: int, data: bytes, end: int, path: Path) -> None:
    """Append all of `data` to a file that ends at `end`, or nothing of it: the bytes are with the OS on return.

    Raises:
        RunFolderError: The disk is full or gone; what was there before is untouched.
    """
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError as error:
        os.ftruncate(descriptor, end)
        advice = "What is finished is kept; make room, then go on with the run"
        raise RunFolderError(f"cannot write {path}: {error.strerror}", advice) from error


def write_atomically(path: Path, lines: Iterable[bytes], *, is_synced: bool = True) -> None:
    """Replace a file as one act: a reader, or a kill at any instant, finds the old content or the new.

    Only if `is_synced` does that hold for a crash of the machine too; files that are many and derived go without.
    """
    path = path.resolve()  # a link keeps its place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a terminal, a pipe: nothing to replace
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for line in lines:
                file.write(line + b"\n")
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):  # a name that tells nobody anything
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
