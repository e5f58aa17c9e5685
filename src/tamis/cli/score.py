"""`tamis score`: add scores to samples that are there."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from tamis.cli import asking
from tamis.cli.options import add_fields, add_model, add_prompt, positive, prompt
from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows, print_scores
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, UsageError
from tamis.sample import Progress

if TYPE_CHECKING:
    from tamis.workflows.score_file import Scored

EXAMPLE = """tamis generate --model-path embedded --dataset demo --limit 20 --temperature 0.7 --run try
  tamis score try --method coe-c,self-eval"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which samples, which scores, who gives them."""
    asking.add_samples(parser, "samples", required=True)
    parser.add_argument(
        "--method",
        default="free",
        metavar="NAMES",
        help="methods whose scores are wanted, with commas between; free: those that ask no model (default); all",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N problems")
    parser.add_argument("--fork", action="store_true", help="ask anew where another model was asked before, and keep both")
    parser.add_argument("--seed", type=int, default=0, help="of a judge's replies (default: %(default)s)")
    add_fields(parser)
    asking.add_scores(parser)
    asking.add_askers(parser)
    add_model(parser)
    add_prompt(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for what is missing, write the scores, print how many there are."""
    from tamis.workflows.best_of_n import ADVICE_TO_SCORE, NOBODY_ASKED
    from tamis.workflows.comparing import methods_named, needs_of, scorers_of
    from tamis.workflows.earlier import Earlier
    from tamis.workflows.score_file import write_scores
    from tamis.workflows.scoring import score_earlier

    methods = methods_named(options.method)
    earlier = Earlier(options.samples, asking.sample_fields(options), options.limit)
    asked = asking.asking(options, asking.itself(options, earlier.drawing))

    async def work() -> Scored:
        with ProgressLine(Progress(), 0) as line:
            await score_earlier(earlier, needs_of(methods), asked, prompt(options), line.follow)
        return write_scores(earlier, scorers_of(methods), asking.score_settings(options))

    try:
        scored = asyncio.run(work())
    except KeyboardInterrupt:
        print(f"interrupted: what was learnt is kept in {earlier.home}; the same command goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    print_bad_rows(earlier.bad_rows)
    print_scores(scored)
    print(f"scores: {scored.path}")
    empty = {name: line.reasons.keys() for name, line in scored.scorers.items() if not line.num_scored}
    unasked = [name for name, reasons in empty.items() if reasons & NOBODY_ASKED]
    if unasked and options.method != "all":
        raise UsageError(f"no sample has the score of: {', '.join(unasked)}", ADVICE_TO_SCORE)
    if empty and options.method != "all":
        return EXIT_INCOMPLETE
    return EXIT_INCOMPLETE if earlier.bad_rows else EXIT_DONE
