"""Every error on one page.

    TamisError                 exit code   whose
    |-- UsageError                 2       the user's: a flag, a setting, an impossible combination
    |   `-- MissingExtra           2       a package that an optional part needs
    |-- InputError                 1       the user's: a file, a line, a field
    |   `-- RunFolderError         1       a run folder that is locked, damaged, or belongs to another configuration
    |-- EngineError                1       the model's: it does not load, or the engine as a whole broke
    `-- (any other exception)      1       ours: shown with its traceback

One bad row or one failed sample is not an exception: it is a row with a `Failure`, and the rest goes on (exit code 3).
Each message is one line that names what is wrong; `advice` is the one line that says what to do.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_MISUSE = 2
EXIT_INCOMPLETE = 3  # finished, with some failed rows or samples
EXIT_INTERRUPTED = 130


class TamisError(Exception):
    """The root: a message of one line, an advice of one line, an exit code."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class UsageError(TamisError):
    """A flag or a setting that cannot be."""

    exit_code = EXIT_MISUSE


class MissingExtra(UsageError):
    """An optional part was asked for and its packages are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed", f"Run: pip install 'tamis[{extra}]'")
        self.args = (what, extra)  # by which another process makes it anew


class InputError(TamisError):
    """A file, a line or a field that cannot be read as what it should be."""


class RunFolderError(InputError):
    """A run folder that cannot be used as asked."""


class EngineError(TamisError):
    """A model that does not load, or an engine that broke as a whole."""


def first_line(error: BaseException) -> str:
    """What an error of another package says first, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
