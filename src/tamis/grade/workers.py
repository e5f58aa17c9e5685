"""A pool of grading workers: subprocesses that may hang, crash or swell, and a caller that never does.

Each worker is a `symbolic.py` process with a thread here that feeds it batches and reads one line a pair. A pair that takes
too long costs its worker its life and the rest of the batch nothing: it is sent again to the next one. Processes start with
the first pair, so that grading that never needs algebra never loads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import TamisError

_PROGRAM = Path(__file__).with_name("symbolic.py")
_STARTUP_S = 120.0
_BATCH_PAIRS = 16
_BATCH_BYTES = 24_000  # less than a pipe holds, so that writing a batch never waits for the worker
_MEMORY = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker said of a pair. `equal` None: it could not say; `timed_out` tells why."""

    equal: bool | None
    detail: str
    timed_out: bool = False


@dataclass(slots=True, eq=False)
class _Job:
    line: bytes
    future: Future[Reply]
    retried: bool = False


class WorkerPool:
    """Workers that run math-verify.

    Args:
        num_workers: Processes; default: the processors, at most 8.
        limit_s: Processor seconds a pair may take. Processor time, so that a busy machine changes no verdict; four times as
            much wall time is the end in any case.
    """

    def __init__(self, num_workers: int | None = None, limit_s: float = 5.0) -> None:
        self.num_workers = num_workers or min(os.cpu_count() or 1, 8)
        self.limit_s = limit_s
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._processes: list[_Process] = []
        self._idle = 0
        self._closed = False

    def submit(self, gold: str, pred: str) -> Future[Reply]:
        """Have one pair compared; the future's result never raises for anything the pair contains."""
        future: Future[Reply] = Future()
        line = json.dumps([gold, pred]).encode() + b"\n"
        with self._changed:
            if self._closed:
                raise RuntimeError("the grader is closed")
            self._jobs.append(_Job(line, future))
            if not self._idle and len(self._threads) < self.num_workers:
                thread = threading.Thread(target=self._serve, name=f"tamis-grader-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """End all workers at once; pairs not yet compared are cancelled."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs.clear()
            for process in self._processes:
                process.kill()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        """One thread: take batches, hand them to its process, until the pool closes."""
        process: _Process | None = None
        while batch := self._take():
            process = process or self._start(batch)
            if process is not None and not self._compare(process, batch):
                process = None
        if process is not None:
            process.end()

    def _take(self) -> list[_Job]:
        """The next jobs for one worker: a fair share of what waits, no more than a pipe holds. Empty: the pool closed."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._jobs or self._closed)
            self._idle -= 1
            if self._closed:
                return []
            share = min(_BATCH_PAIRS, -(-len(self._jobs) // self.num_workers))
            batch = [self._jobs.popleft()]
            size = len(batch[0].line)
            while len(batch) < share and size + len(self._jobs[0].line) <= _BATCH_BYTES:
                batch.append(self._jobs.popleft())
                size += len(batch[-1].line)
            return batch

    def _start(self, batch: list[_Job]) -> _Process | None:
        """A new process; None when it does not start, which the waiting pairs are told as an exception."""
        process = _Process()
        with self._changed:
            if self._closed:
                process.kill()
            self._processes.append(process)
        try:
            process.launch(self.limit_s)
            reason = process.wait_until_ready()
        except OSError as failure:  # no memory, no file handles
            reason = str(failure)
        if reason is None:
            return process
        with self._changed:
            self._processes.remove(process)
            closed = self._closed
        error = TamisError(
            f"the grading worker does not start: {reason}",
            "Check that math-verify is installed in the environment that runs tamis",
        )
        for job in batch:
            with contextlib.suppress(InvalidStateError):
                job.future.cancel() if closed else job.future.set_exception(error)
        return None

    def _compare(self, process: _Process, batch: list[_Job]) -> bool:
        """Compare a batch; False when the process died of it, and the pairs it still owed wait for another."""
        waiting = deque(batch)
        process.send(b"".join(job.line for job in waiting))
        while waiting:
            reply = process.receive(4 * self.limit_s)
            if reply is not None:
                _settle(waiting.popleft().future, Reply(reply["equal"], reply["detail"]))
                continue
            timed_out = process.end()
            with self._changed:
                self._processes.remove(process)
                if self._closed:
                    for job in waiting:
                        job.future.cancel()
                    return False
                owed = waiting.popleft()
                if not timed_out and not owed.retried:  # perhaps somebody else's doing: once more
                    owed.retried = True
                    waiting.appendleft(owed)
                self._jobs.extendleft(reversed(waiting))
                self._changed.notify_all()
            if timed_out:
                _settle(owed.future, Reply(None, f"no verdict within {self.limit_s:g} s", timed_out=True))
            elif owed not in waiting:
                _settle(owed.future, Reply(None, "the worker ended"))
            return False
        return True


def _settle(future: Future[Reply], reply: Reply) -> None:
    with contextlib.suppress(InvalidStateError):  # the caller may have cancelled it
        future.set_result(reply)


class _Process:
    """One worker process, and a thread that reads its lines, so that waiting for one can have an end on every system."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._killed = self._waited_out = False
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, limit_s: float) -> None:
        """Start it, unless it has been killed before."""
        command = [sys.executable, "-P", str(_PROGRAM), str(_MEMORY), str(limit_s)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
        }
        with self._lock:
            if self._killed:
                return
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def wait_until_ready(self) -> str | None:
        """None once it serves, else why it does not."""
        if self._process is None:
            return "the grader is closed"
        said = self.receive(_STARTUP_S)
        if said == {"ready": True}:
            return None
        self.end()
        return said["failed"] if said else f"it ended or said nothing for {_STARTUP_S:.0f} s"

    def send(self, lines: bytes) -> None:
        """Hand over pairs; that it has died meanwhile is noticed by `receive`."""
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(lines)
            self._process.stdin.flush()

    def receive(self, patience_s: float) -> dict[str, Any] | None:
        """Its next line; None when it ended or kept silent for too long."""
        try:
            line = self._lines.get(timeout=patience_s)
        except queue.Empty:
            self._waited_out = True
            return None
        return dict(json.loads(line)) if line else None

    def kill(self) -> None:
        """End it from another thread."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> bool:
        """Kill it, release what it held; True when time was the reason: our patience, or the kernel's processor limit."""
        process = self._process
        assert process
        process.kill()
        code = process.wait()
        assert process.stdin
        with contextlib.suppress(OSError):
            process.stdin.close()
        return self._waited_out or code == -getattr(signal, "SIGPROF", 0)
