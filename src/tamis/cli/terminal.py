"""Lines in, text out, for a command that talks: with line editing on a terminal, plainly elsewhere."""

from __future__ import annotations

import io
import sys
from contextlib import suppress

from tamis.view.text import clean

_PROMPT = "> "


class Terminal:
    """Where the user sits, or a file with their lines; what is said beside the answers goes to stderr.

    All that is written is made harmless first: a model, and a user's file, may hold what a terminal would obey.
    """

    def __init__(self) -> None:
        self.is_live = sys.stdin.isatty() and sys.stdout.isatty()
        self._at_line_start = True
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a line that is no text is one bad line, not the end
        if self.is_live:
            with suppress(ImportError):  # there may be none; the terminal's own editing is left then
                import readline  # noqa: F401 - gives `input` line editing and a history

    def read(self) -> str | None:
        """The next line; None at the end."""
        if not self.is_live:
            line = sys.stdin.readline()
            return line.rstrip("\r\n") if line else None
        try:
            return input(_PROMPT)
        except EOFError:
            print(flush=True)
            return None

    def write(self, text: str) -> None:
        """A piece of an answer, at once."""
        if text:
            self._at_line_start = text.endswith("\n")
            print(clean(text), end="", flush=self.is_live)

    def end_line(self) -> None:
        """End the line that the last piece left open."""
        if not self._at_line_start:
            self.write("\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A line beside the answers."""
        self.end_line()
        print(clean(text), file=sys.stderr, flush=True)
