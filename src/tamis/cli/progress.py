"""How far a run is, on stderr: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console

    from tamis.sample import Progress

_LIVE_S = 0.2
_PLAIN_S = 15.0  # a log file wants few lines


class ProgressLine:
    """Shows a `Progress` while the block runs: samples done, rate, tokens a second, time left, failures."""

    def __init__(self, progress: Progress, num_samples: int) -> None:
        self._progress = progress
        self._total = num_samples
        self._label = ""
        self._seen, self._seen_at = 0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._progress.started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

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

    def _show(self) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal:
            self._show_live(console)
        else:
            while not self._stop.wait(_PLAIN_S):
                print(self.line(), file=sys.stderr, flush=True)
        self._say_last()

    def _say_last(self) -> None:
        if self._progress.samples_done + self._progress.samples_failed:
            print(self.line(), file=sys.stderr, flush=True)

    def _show_live(self, console: Console) -> None:
        from rich.live import Live
        from rich.text import Text

        with Live(Text(self.line()), console=console, refresh_per_second=1 / _LIVE_S, transient=True) as live:
            while not self._stop.wait(_LIVE_S):
                live.update(Text(self.line(), no_wrap=True, overflow="ellipsis"))

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
                left = int((self._total - finished) / rate)
                parts.append(f"{left // 60}:{left % 60:02d} left")
        parts.append(f"{now.samples_failed} failed")
        if now.tokens:
            parts.append(f"{100 * now.samples_truncated / now.samples_done:.1f} % truncated")
        return "  ".join(parts)
