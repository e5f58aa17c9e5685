"""`tamis interleave`: reasoning in text and pictures over a file of problems (source document s0)."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING

from tamis.cli import interleave_options
from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, RunFolderError, UsageError
from tamis.records.traced import SUMMARY_FILE

if TYPE_CHECKING:
    from tamis.sources import BadRow
    from tamis.workflows.interleaving import Session
    from tamis.workflows.reasoning import Reasoning
    from tamis.workflows.trace_files import Statistics

EXAMPLE = """tamis demo --interleave --problems 8
  tamis interleave --input-jsonl runs/demo-interleave/problems/seed-0/by-steps.jsonl --checkpoint-dir embedded-interleave \\
    --num-timesteps 10 --cfg-text-scale 2 --cfg-img-scale 1.5 -n 2 --do-sample --text-temperature 0.5"""

add_arguments = interleave_options.add_arguments


def run(options: argparse.Namespace) -> int:
    """Solve every row, write all files, print what there is in all."""
    from tamis.workflows.interleaving import Session

    config = interleave_options.reasoning(options)
    _warn(options, config)
    if options.output_dir.exists() and not options.output_dir.is_dir():
        raise UsageError(f"--output-dir is a file: {options.output_dir}", "Name a folder")
    if options.dry_run:
        return _dry_run(config)
    with Session(config) as session:
        print(f"run folder: {session.path}", file=sys.stderr)
        try:
            with _Line(session), redirect_stdout(sys.stderr):
                session.run()
        except KeyboardInterrupt:
            _say_how_to_go_on("interrupted", session)
            _conclude(session, is_complete=False)
            raise SystemExit(EXIT_INTERRUPTED) from None
        except Exception:
            _say_how_to_go_on("stopped", session)
            with suppress(RunFolderError):  # the disk that is full is named already
                _conclude(session, is_complete=False)
            raise
        statistics = _conclude(session, is_complete=True)
        _print(statistics, session)
        failed = session.bad_rows or session.progress.samples_damaged or statistics.failed
        return EXIT_INCOMPLETE if failed else EXIT_DONE


def _conclude(session: Session, *, is_complete: bool) -> Statistics:
    """Write what the run was, and say what was left out."""
    try:
        return session.conclude(is_complete=is_complete)
    finally:
        for warning in session.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print_bad_rows(session.bad_rows, listed_in=SUMMARY_FILE)


def _warn(options: argparse.Namespace, config: Reasoning) -> None:
    """Say which options play no part."""
    if options.text_temperature and not options.do_sample:
        print(f"warning: --text-temperature {options.text_temperature:g} plays no part without --do-sample", file=sys.stderr)
    if config.resume and options.output_dir != interleave_options.OUTPUT_DIR:
        print(f"warning: --output-dir {options.output_dir} plays no part with --resume", file=sys.stderr)
    if config.n > 1 and not config.settings.temperature:
        print("warning: candidates differ by their pictures alone: texts are greedy without --do-sample", file=sys.stderr)


def _say_how_to_go_on(what: str, session: Session) -> None:
    print(
        f"{what}: {session.num_finished} candidates are kept; the same command with --resume {session.path} goes on from there",
        file=sys.stderr,
    )


def _print(statistics: Statistics, session: Session) -> None:
    found = statistics.to_json()
    print(f"samples: {found['total_samples']} ({found['successful']} successful, {found['failed']} failed)")
    if statistics.num_successful:
        print(f"on average {found['avg_reasoning_steps']:.2f} steps and {found['avg_generated_images']:.2f} pictures")
    if session.num_truncated:
        print(f"{session.num_truncated} are truncated: they have no end of their own (--max-iterations, --max-tokens)")
    if session.config.n > 1:
        print(f"each is the best of {session.config.n} candidates by {session.config.method}")
    print(f"results: {session.path}")
    print(f"compare: tamis interleave-evaluate --results-jsonl {session.path} --report {session.path / 'report.html'}")


def _dry_run(config: Reasoning) -> int:
    """Read all rows and the headers of the checkpoint; nothing is drawn and nothing is written."""
    from tamis.workflows.reasoning import check

    bad_rows: list[BadRow] = []
    report = check(config, bad_rows)
    print(f"{report.num_rows} problems with {report.num_pictures} pictures x {config.n} candidates")
    print(f"model: {config.checkpoint}, {report.num_bytes / 1e9:.3g} GB in its files")
    print("the first problem:")
    print(report.first)
    print_bad_rows(bad_rows)
    return EXIT_INCOMPLETE if bad_rows else EXIT_DONE


class _Line(ProgressLine):
    """The progress line with the pictures, which are drawn long before the first row is done."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.progress, session.num_rows * session.config.n)
        self._session = session

    def line(self) -> str:
        """`12/40 samples  10 pictures  3.1/s  ...`."""
        samples, _, others = super().line().partition("  ")
        return f"{samples}  {self._session.num_pictures} pictures  {others}"
