"""From a command's name and arguments to its exit code: parsing, errors in one line, interruption."""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from tamis.cli import COMMANDS
from tamis.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE, TamisError


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors and a suggestion for a mistyped option."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with exit code 2."""
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            near = difflib.get_close_matches(unknown[1], self._option_string_actions, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
            message = f"unknown option: {unknown[1]} ({hint})"
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(EXIT_MISUSE)


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Run the command `name`; every expected error becomes one line on stderr and its exit code."""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "see tamis --help"
        print(f"tamis: unknown command: {name} ({hint})", file=sys.stderr)
        return EXIT_MISUSE
    module = importlib.import_module(f"tamis.cli.{name.replace('-', '_')}")
    parser = Parser(
        prog=f"tamis {name}",
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.",
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows a sign for it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():  # what a scheduler sends ends a run as Ctrl-C does
        signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():  # a log file wants no bars of the libraries
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        options = parser.parse_args([_with_dashes(argument) for argument in arguments])
        code: int = module.run(options)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse: help or misuse
        return stop.code if isinstance(stop.code, int) else EXIT_MISUSE
    except TamisError as error:
        from tamis.view.text import clean

        print(clean(f"tamis {name}: {error}"), file=sys.stderr)  # it may quote a file, or a server
        return error.exit_code
    except KeyboardInterrupt:
        print(f"tamis {name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:  # the world's: a full disk, a folder in the place of a file
        print(f"tamis {name}: {error.strerror or error}: {error.filename or 'output'}", file=sys.stderr)
        return EXIT_FAILED


def _interrupt(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background, where Ctrl-C is not meant for us
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)


def _with_dashes(argument: str) -> str:
    """`--max_tokens=5` -> `--max-tokens=5`; values are left alone."""
    option, equals, value = argument.partition("=")
    return f"{option.replace('_', '-')}{equals}{value}" if re.fullmatch(r"--[A-Za-z][\w-]*", option) else argument
