"""The log file of a run: one line an event, without keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OURS = "tamis.run"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@contextmanager
def run_log(folder: Path, name: str, level: str, secrets: Iterable[str]) -> Iterator[logging.Logger]:
    """Log to `<folder>/<name>_<time>.log` while the block runs, what the engines have to say too.

    Raises:
        OSError: The file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(folder / f"{name}_{time.strftime('%Y%m%d_%H%M%S')}.log", encoding="utf-8", errors="replace")
    file.setLevel(level)
    file.setFormatter(_OneLine(secrets))
    shown = logging.StreamHandler()  # stderr, where Python shows warnings that nobody else takes
    shown.setLevel(logging.WARNING)
    shown.addFilter(lambda record: record.name != _OURS)  # what is ours is in the tables
    everything = logging.getLogger("tamis")
    level_before = everything.level
    everything.addHandler(file)
    everything.addHandler(shown)
    everything.setLevel(min(file.level, logging.WARNING))
    try:
        yield logging.getLogger(_OURS)
    finally:
        everything.setLevel(level_before)
        everything.removeHandler(file)
        everything.removeHandler(shown)
        file.close()


class _OneLine(logging.Formatter):
    """`2026-01-31 12:00:00 INFO message`: whatever a message holds, it is one line without keys."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        self._secrets = [secret for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())
