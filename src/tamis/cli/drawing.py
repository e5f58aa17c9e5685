"""What `generate` and `infer` share: a session from options, the dry run, the progress line around a workflow."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tamis.cli import options as shared
from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from tamis.config import Drawing
    from tamis.workflows.drawing import Session

DEFAULT_DATASET = "HuggingFaceH4/MATH-500"

Result = TypeVar("Result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a command that draws candidates."""
    shared.add_model(parser)
    shared.add_cluster(parser)
    shared.add_dataset(parser, DEFAULT_DATASET)
    shared.add_sampling(parser)
    shared.add_adaptive(parser)
    shared.add_prompt(parser)
    shared.add_run(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where the documented files go."""
    parser.add_argument(
        "--output-dir", type=Path, default=Path("results"), help="folder of the result files (default: %(default)s)"
    )


def dry_run(options: argparse.Namespace) -> int:
    """Read all inputs and show the first prompt; nothing is drawn and nothing is written."""
    return dry_run_of(shared.drawing(options))


def dry_run_of(config: Drawing) -> int:
    """The same of a configuration."""
    from tamis.workflows.drawing import check

    report = check(config)
    at_most = "at most " if config.adaptive else ""
    print(f"{report.num_problems} problems x {at_most}{config.sampling.n} samples, at most {report.max_tokens} tokens")
    print(f"run folder: {report.run_path}")
    print("first prompt:")
    print(report.first_prompt)
    print_bad_rows(report.bad_rows)
    return EXIT_INCOMPLETE if report.bad_rows else EXIT_DONE


def check_output(options: argparse.Namespace) -> None:
    """Find out before a model is loaded that the results have no place to go."""
    if options.output_dir.exists() and not options.output_dir.is_dir():
        raise UsageError(f"--output-dir is a file: {options.output_dir}", "Name a folder")


def run_drawing(session: Session, work: Coroutine[Any, Any, Result]) -> Result:
    """Run a workflow over a session under a progress line, and free the session whatever happens."""
    print(f"run folder: {session.folder.path}", file=sys.stderr)
    try:
        total = 0 if session.config.adaptive else session.num_problems * session.config.sampling.n
        with ProgressLine(session.progress, total) as line, redirect_stdout(sys.stderr):  # of libraries: stdout is for results
            session.watch = line.follow
            return asyncio.run(work)
    except KeyboardInterrupt:
        done = session.folder.num_finished
        print(
            f"interrupted: {done} samples are kept in {session.folder.path}; the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        session.close()
        for warning in session.folder.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        if session.progress.samples_damaged:
            lost = session.progress.samples_damaged
            print(f"warning: {lost} samples could not be read again; the same command draws them anew", file=sys.stderr)
        print_bad_rows(session.bad_rows)


def print_spent(session: Session, file: TextIO | None = None) -> None:
    """What adaptive sampling has drawn and what it has spared."""
    spent, adaptive = session.spent, session.config.adaptive
    if adaptive is None or not spent.num_samples:
        return
    print(
        f"{adaptive.rule}: {spent.num_samples} samples of {spent.budget_samples} "
        f"({100 * spent.num_samples / spent.budget_samples:.1f} %), {spent.num_tokens} tokens of about "
        f"{spent.budget_tokens:.0f} ({100 * spent.num_tokens / max(spent.budget_tokens, 1):.1f} %); "
        f"the budget is {session.config.sampling.n} samples a problem",
        file=file,
    )
