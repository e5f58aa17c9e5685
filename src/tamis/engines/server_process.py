"""A model server of our own: started on a free port of loopback, waited for, and ended with us whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tamis.errors import EngineError, InputError

_POLL_S = 0.2
_LAST_LINES = 3
_LONGEST_TAIL = 4000  # bytes at the end of the log in which its last lines are looked for
_MAX_LINE = 200

# The server is to end when we are killed, too; what asks the kernel for that must run in the process that becomes the server.
_ENDS_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


class ServerProcess:
    """See the module: `with ServerProcess(command, log) as server: ... server.base_url`.

    Attributes:
        base_url: Of the server, with `/v1`.
    """

    def __init__(
        self, command: Callable[[int], Sequence[str]], log: Path, *, start_s: float = 1800.0, stop_s: float = 30.0
    ) -> None:
        """Find a free port; nothing is started.

        Args:
            command: The command line of a server on a port of loopback.
            log: Where what it prints is added.
            start_s: Seconds within which it must list its models.
            stop_s: Seconds that it has to end by itself.
        """
        port = _free_port()
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._command, self._log, self._start_s, self._stop_s = list(command(port)), log, start_s, stop_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            EngineError: There is no such program, it ends before it answers, or it does not answer in time.
            InputError: The log cannot be written.
        """
        if shutil.which(self._command[0]) is None:
            raise EngineError(f"cannot start {self._command[0]}: there is no such program", "Install it, or check the path")
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            log = self._log.open("ab")
        except OSError as error:
            raise InputError(f"cannot write {self._log}: {error.strerror}", "Name another folder") from None
        with log:
            self._process = subprocess.Popen(
                _with_us(self._command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + self._start_s
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                raise EngineError(f"the server does not answer after {self._start_s:g} s{self._last_words()}", self._advice())
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Find out that it has ended.

        Raises:
            EngineError: It has; the message holds the last lines of its log.
        """
        code = self._process.poll() if self._process else None
        if code is not None:
            raise EngineError(f"the server has ended (exit code {code}){self._last_words()}", self._advice())

    def stop(self) -> None:
        """End it and all that it has started. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            pass
        finally:  # a second Ctrl-C too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
        try:
            with opener.open(f"{self.base_url}/models", timeout=5.0) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code in (401, 403)  # it is there, and wants a key
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def _last_words(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _LONGEST_TAIL))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        said = [" ".join("".join(c if c.isprintable() else " " for c in line).split())[:_MAX_LINE] for line in lines]
        last = [line for line in said if line][-_LAST_LINES:]
        return f": {' | '.join(last)}" if last else ""

    def _advice(self) -> str:
        return f"See {self._log}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_us(command: list[str]) -> list[str]:
    return [sys.executable, "-c", _ENDS_WITH_PARENT, str(os.getpid()), *command] if sys.platform == "linux" else command
