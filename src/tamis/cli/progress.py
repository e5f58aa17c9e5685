"""How far a run is, on stderr: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tamis.sample import Progress
    from tamis.workflows.summarising import Counted

_LIVE_S = 0.2
_PLAIN_S = 15.0  # a log file wants few lines


class StatusLine(ABC):
    """Shows what `line` says while the block runs."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def line(self) -> str:
        """What there is to say now."""

    def _say_last(self) -> None:  # noqa: B027 - most lines have nothing to leave
        """What is left to be read at the end."""

    def _show(self) -> None:
        if sys.stderr.isatty():
            self._show_live()
        else:
            while not self._stop.wait(_PLAIN_S):
                print(self.line(), file=sys.stderr, flush=True)
        self._say_last()

    def _show_live(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(stderr=True)
        with Live(Text(self.line()), console=console, refresh_per_second=1 / _LIVE_S, transient=True) as live:
            while not self._stop.wait(_LIVE_S):
                live.update(Text(self.line(), no_wrap=True, overflow="ellipsis"))


class ReadingLine(StatusLine):
    """How much of some files is read and counted; gone at the end."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self._counted, self._started = counted, time.monotonic()

    def line(self) -> str:
        """`312/1000 MB  95,414 rows  31.2 MB/s  0:22 left`."""
        now, elapsed = self._counted, max(time.monotonic() - self._started, 1e-9)
        if not now.num_bytes:
            return "reading"
        rate, left = now.num_bytes / elapsed, now.of_bytes - now.num_bytes
        done = f"{now.num_bytes / 1e6:.0f}/{now.of_bytes / 1e6:.0f} MB  {now.num_rows:,} rows"
        return f"{done}  {rate / 1e6:.1f} MB/s  {_minutes(left / rate)} left"


class ProgressLine(StatusLine):
    """Shows a `Progress`: samples done, rate, tokens a second, time left, failures."""

    def __init__(self, progress: Progress, num_samples: int) -> None:
        super().__init__()
        self._progress = progress
        self._total = num_samples
        self._label = ""
        self._seen, self._seen_at = 0, 0.0

    def __enter__(self) -> Self:
        self._progress.started = time.monotonic()
        return super().__enter__()

    @contextmanager
    def follow(self, label: str, progress: Progress, total: int) -> Iterator[None]:
        """Show other counts while the block runs: those of a later stage."""
        before = (self._label, self._progress, self._total, self._seen, self._seen_at)
        progress.started = time.monotonic()
        self._label, self._progress, self._total, self._seen = f"{label}: ", progress, total, 0
        try:
            yield
        finally:
            self._say_last()
            self._label, self._progress, self._total, self._seen, self._seen_at = before

    def _say_last(self) -> None:
        if self._progress.samples_done + self._progress.samples_failed:
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """`312/2000 samples (100 reused)  12.1/s  1450 tokens/s  2:20 left  0 failed  1.0 % truncated`."""
        now = self._progress
        drawn = now.samples_done + now.samples_failed
        if drawn != self._seen:
            self._seen, self._seen_at = drawn, time.monotonic()
        elapsed = max(self._seen_at - now.started, 1e-9)  # what follows the last sample is not sampling
        finished = drawn + now.samples_reused
        reused = f" ({now.samples_reused} reused)" if now.samples_reused else ""
        of_all = f"/{self._total}" if self._total else ""  # adaptive sampling does not know beforehand
        parts = [f"{self._label}{finished}{of_all} samples{reused}"]
        if drawn:
            rate = drawn / elapsed
            tokens = [f"{now.tokens / elapsed:.0f} tokens/s"] if now.tokens else []
            parts += [f"{rate:.1f}/s", *tokens]
            if self._total:
                parts.append(f"{_minutes((self._total - finished) / rate)} left")
        parts.append(f"{now.samples_failed} failed")
        if now.tokens:
            parts.append(f"{100 * now.samples_truncated / now.samples_done:.1f} % truncated")
        return "  ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
