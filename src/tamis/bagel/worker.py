"""A process that holds a replica: it opens the model, then solves what the other end of its line hands it.

It says `NEXT` when it has room for a puzzle and is told one, or None; besides it says solutions, counts of pictures, `DONE`,
or the error that ended it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from tamis.bagel.settings import Puzzle
from tamis.errors import TamisError

if TYPE_CHECKING:
    from tamis.bagel.replicas import Solver

BEGIN, NEXT, DONE = "begin", "next", "done"


def work(line: Connection, open_solver: Callable[[], Solver], num_workers: int) -> None:
    """Open the model, then solve what is asked until the other end goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started us ends us
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // num_workers))
    try:
        solver = open_solver()
        line.send(solver.describe())
        while line.recv() == BEGIN:
            for solution in solver.solve(_puzzles(line), line.send):
                line.send(solution)
            line.send(DONE)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other end says it
        with suppress(OSError):  # unless that has gone away, which is an error here too
            line.send(portable(error))


def _puzzles(line: Connection) -> Iterator[Puzzle]:
    while True:
        line.send(NEXT)
        puzzle = line.recv()
        if puzzle is None:
            return
        yield puzzle


def portable(error: Exception) -> Exception:
    """An error as it can be raised in another process; one that is ours brings its traceback with it."""
    if not isinstance(error, TamisError):
        error.add_note(f"in a process that held the model:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever prevents it
        other = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            other.add_note(note)
        return other
    return error


def _end_with_parent() -> None:
    """A parent that was killed can end nobody: its orphans would keep their GPUs to the end of the picture."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
