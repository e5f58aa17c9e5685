"""`tamis export`: training data from samples that are there."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import asking
from tamis.cli.options import add_fields, positive
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from tamis.export import FORMATS, Taking

if TYPE_CHECKING:
    from tamis.workflows.earlier import Earlier

EXAMPLE = """tamis generate --model-path embedded --dataset demo --limit 20 --temperature 1 --max-tokens 160 --run try
  tamis export try --format trl-dpo --output pairs.jsonl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which samples, which form, where to."""
    asking.add_samples(parser, "samples", required=True)
    parser.add_argument(
        "--format", required=True, choices=FORMATS, help="see docs/export.md; dpo: pairs, the best and the worst"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines; appears whole or not at all")
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="a method that scores samples (default: right against wrong, by the reference answers; of tamis reject: judge)",
    )
    parser.add_argument("--margin", type=float, metavar="X", help="of pairs: the least difference of their scores")
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="X",
        help="the least score of what is to be learnt from (default, of the best ones of tamis reject: its threshold / 100)",
    )
    parser.add_argument(
        "--only-correct", action="store_true", help="with --method: learn from right samples only, and from wrong ones what not"
    )
    parser.add_argument(
        "--per-prompt", type=positive, default=1, metavar="N", help="rows a problem at most (default: %(default)s)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N problems")
    add_fields(parser)
    asking.add_scores(parser)


def run(options: argparse.Namespace) -> int:
    """Write the file; print how much is in it, and why the rest is not."""
    from tamis.workflows.earlier import Earlier
    from tamis.workflows.exporting import export
    from tamis.workflows.rejected_pools import is_rejection, threshold_of

    form = FORMATS[options.format]
    if options.margin is not None and not form.is_pairs:
        raise UsageError(f"--margin has no effect on {options.format}", "Leave it out, or choose a format of pairs")
    if options.output.resolve() == options.samples.resolve():
        raise UsageError(f"--output is the file of the samples: {options.output}", "Name another file")
    is_rejected = is_rejection(options.samples)
    method, least = options.method or ("judge" if is_rejected else None), options.min_score
    if is_rejected and least is None and not form.is_pairs and method == "judge":
        least = threshold_of(options.samples)
    taking = Taking(_scorer(method), options.margin or 0.0, options.only_correct, options.per_prompt, least)
    earlier = Earlier(options.samples, asking.sample_fields(options), options.limit)
    exported = asyncio.run(export(earlier, form, taking, asking.score_settings(options), options.output))
    print_bad_rows(earlier.bad_rows)
    print(f"{exported.num_rows} rows of {exported.num_used} of {exported.num_problems} problems: {exported.path}")
    if exported.left_out:
        print("samples in no row: " + ", ".join(f"{count} {reason}" for reason, count in exported.left_out.most_common()))
    if not exported.num_rows:
        print(f"tamis export: nothing to learn from{_advice(options, earlier)}", file=sys.stderr)
    return EXIT_DONE if exported.num_rows and not earlier.bad_rows else EXIT_INCOMPLETE


def _scorer(method: str | None) -> str | None:
    from tamis.select import find_method

    if method is None:
        return None
    scorer = find_method(method).scorer
    if scorer is None:
        raise UsageError(f"the method {method} gives samples no score", "Name one that does, or none: right against wrong")
    return scorer


def _advice(options: argparse.Namespace, earlier: Earlier) -> str:
    if earlier.is_rejection:
        return ": see --min-score and --margin; scores of the judge go from 0 to 1 here"
    if options.method is None:
        return ": without --method problems need reference answers, and pairs need a right and a wrong sample of one problem"
    return f": if scores are missing, run tamis score {options.samples} --method {options.method}"
