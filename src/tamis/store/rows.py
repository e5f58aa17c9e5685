"""A file of rows that appears whole or not at all, written as the rows come."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tamis.errors import InputError
from tamis.store.files import encode


class RowFile:
    """JSON lines under a temporary name; leaving the block without an error renames them into place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.tmp"):
                if not _is_running(int(left.suffixes[-2][1:])):  # its writer was killed
                    left.unlink(missing_ok=True)
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}", "Name another folder") from error
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one row."""
        try:
            self._file.write(encode(row) + b"\n")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}", "Make room, then run it again") from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._temporary.replace(self.path)
        self._temporary.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
