"""`tamis evaluate`: the best of candidates drawn earlier (source document s3, evaluate.py)."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.options import share
from tamis.cli.tables import print_bad_rows, print_comparison
from tamis.config import Choosing
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from tamis.workflows.best_of_n import Outcome

EXAMPLE = """tamis generate --model-path embedded --dataset demo --limit 20 --temperature 0.7 --output-dir try
  tamis evaluate --candidates try/*_candidates_*.jsonl --alpha 0.4"""


def add_choosing(parser: argparse.ArgumentParser) -> None:
    """How the best is chosen."""
    group = parser.add_argument_group("choosing")
    group.add_argument("--method", default=Choosing().method, help="see tamis compare --list (default: %(default)s)")
    group.add_argument(
        "--alpha",
        type=share,
        default=Choosing().alpha,
        help="weight of self-certainty against negative entropy inside each step (default: %(default)s)",
    )


def choosing(options: argparse.Namespace) -> Choosing:
    """The configuration of the choice."""
    from tamis.select import find_method

    find_method(options.method)
    return Choosing(method=options.method, alpha=options.alpha)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file and the choice."""
    parser.add_argument(
        "--candidates", "--input", type=Path, required=True, metavar="FILE", help="file written by tamis generate"
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="FOLDER", help="where the best file goes (default: beside the candidates)"
    )
    add_choosing(parser)


def run(options: argparse.Namespace) -> int:
    """Choose, write the best file, print the accuracies."""
    from tamis.workflows.best_of_n import evaluate

    outcome = asyncio.run(evaluate(options.candidates, choosing(options), options.output_dir))
    print_bad_rows(outcome.bad_rows)
    return finish(outcome)


def finish(outcome: Outcome) -> int:
    """The last lines of a best-of-N run, and its exit code."""
    print(f"✅ Done! Final results saved to: {outcome.best}")
    if outcome.comparison is not None:
        print_comparison(outcome.comparison, "best of N")
    return EXIT_DONE if outcome.is_complete else EXIT_INCOMPLETE
