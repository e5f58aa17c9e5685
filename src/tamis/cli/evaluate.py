"""`tamis evaluate`: the best of candidates drawn earlier (source document s3, evaluate.py)."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import asking
from tamis.cli.options import add_model, add_prompt, prompt
from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows, print_comparison
from tamis.config import Choosing
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from tamis.sample import Progress

if TYPE_CHECKING:
    from tamis.workflows.best_of_n import Outcome

EXAMPLE = """tamis generate --model-path embedded --dataset demo --limit 20 --temperature 0.7 --output-dir try
  tamis evaluate --candidates try/*_candidates_*.jsonl --alpha 0.4"""


def add_choosing(parser: argparse.ArgumentParser) -> None:
    """How the best is chosen."""
    group = parser.add_argument_group("choosing")
    group.add_argument(
        "--method", help=f"see tamis compare --list (default: {Choosing().method}; after --adaptive, the vote of its rule)"
    )
    group.add_argument("--key-steps", action="store_true", help="say in the best file which steps of each answer decide")
    asking.add_scores(parser)
    asking.add_askers(parser)


def choosing(options: argparse.Namespace) -> Choosing:
    """The configuration of the choice."""
    from tamis.select import find_method

    method = options.method or getattr(options, "adaptive", None) or Choosing().method
    if "," in method:
        raise UsageError(f"--method {method}: one method chooses", "tamis compare takes several")
    find_method(method)
    return Choosing(method=method, scores=asking.score_settings(options), seed=options.seed, key_steps=options.key_steps)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file and the choice."""
    parser.add_argument(
        "--candidates", "--input", type=Path, required=True, metavar="FILE", help="file written by tamis generate"
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="FOLDER", help="where the best file goes (default: beside the candidates)"
    )
    add_choosing(parser)
    group = parser.add_argument_group("samples that lack what the method needs")
    group.add_argument("--fork", action="store_true", help="ask anew where another model was asked before, and keep both")
    group.add_argument("--seed", type=int, default=0, help="of subsets and of a judge's replies (default: %(default)s)")
    add_model(parser)
    add_prompt(parser)


def run(options: argparse.Namespace) -> int:
    """Score what is not scored, choose, write the best file, print the accuracies."""
    from tamis.workflows.best_of_n import evaluate, needs_of_choice
    from tamis.workflows.earlier import Earlier
    from tamis.workflows.scoring import score_earlier

    chosen = choosing(options)
    earlier = Earlier(options.candidates)
    asked = asking.asking(options, asking.itself(options, None))

    async def work() -> Outcome:
        with ProgressLine(Progress(), 0) as line:
            await score_earlier(earlier, needs_of_choice(chosen), asked, prompt(options), line.follow)
        return await evaluate(earlier, chosen, options.output_dir)

    outcome = asyncio.run(work())
    print_bad_rows(outcome.bad_rows)
    return finish(outcome)


def finish(outcome: Outcome) -> int:
    """The last lines of a best-of-N run, and its exit code."""
    print(f"✅ Done! Final results saved to: {outcome.best}")
    if outcome.comparison is not None:
        print_comparison(outcome.comparison, "best of N")
    return EXIT_DONE if outcome.is_complete else EXIT_INCOMPLETE
