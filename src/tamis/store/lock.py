"""One writer a folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from weakref import WeakSet

from tamis.errors import RunFolderError

LOCK_NAME = ".lock"


class WriterLock:
    """Held from construction to `release`, or to the death of this process, however it dies."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            holder = f"process {pid}" if pid else "another process"
            raise RunFolderError(f"{folder} is being written by {holder}", "Let it end, or name another folder") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        _held.add(self)

    def release(self) -> None:
        """Let the next writer in. Idempotent."""
        if self in _held:
            _held.discard(self)
            os.close(self._descriptor)


_held: WeakSet[WriterLock] = WeakSet()


def _forget_in_child() -> None:
    # A forked worker shares the lock through its copy of the descriptor: if this process were killed, its orphans would
    # keep the folder locked.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_forget_in_child)
