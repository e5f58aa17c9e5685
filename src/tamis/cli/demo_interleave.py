"""`tamis demo --interleave`: the embedded unified model draws its steps, or answers at once: how often is it right?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from tamis.workflows.demonstrating_interleave import Outcome
    from tamis.workflows.interleaving import Session


def run_interleave(num_problems: int, seed: int, run: Path) -> int:
    """Write the boards, solve them in both ways, compare, print the table."""
    from tamis.cli.interleave_tables import facts_of, metric_lines
    from tamis.workflows.demonstrating_interleave import NUM_STEPS, REPORT, demonstrate_interleave

    try:
        outcomes = demonstrate_interleave(num_problems, seed, run, _watched)
    except KeyboardInterrupt:
        print(f"interrupted; what was finished is in {run}", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    bad_rows = [bad for outcome in outcomes for bad in outcome.bad_rows]
    print_bad_rows(bad_rows)
    _print_table(
        outcomes, f"the embedded unified model: where a ring ends on {num_problems} boards, greedy, {NUM_STEPS} points in time"
    )
    for outcome in outcomes:
        found = outcome.evaluation.metrics
        report = outcome.path / REPORT
        outcome.gallery.write(facts_of(found, outcome.evaluation.statistics), metric_lines(found), found["bad_rows"])
        print(f"{outcome.title}: {outcome.path}, page: {report}")
    return EXIT_INCOMPLETE if bad_rows else EXIT_DONE


@contextmanager
def _watched(session: Session) -> Iterator[None]:
    print(f"run folder: {session.path}", file=sys.stderr)
    with ProgressLine(session.progress, session.num_rows):
        yield


def _print_table(outcomes: list[Outcome], title: str) -> None:
    from tamis.cli.solve_tables import print_table

    columns = ("", "right", "accuracy", "95 % interval", "pictures", "PSNR (dB)", "SSIM", "seconds")
    rows = []
    for outcome in outcomes:
        answers = outcome.metric("answer_accuracy")
        rows.append(
            (
                outcome.title,
                f"{answers['correct']}/{answers['total']}",
                _number(answers["value"], ".3f"),
                "{:.3f} .. {:.3f}".format(*answers["interval"]) if answers["interval"] else "",
                str(outcome.num_pictures),
                _number(outcome.metric("psnr")["value"], ".2f"),
                _number(outcome.metric("ssim")["value"], ".3f"),
                f"{outcome.seconds:.1f}",
            )
        )
    print_table(title, columns, rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
