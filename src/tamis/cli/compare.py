"""`tamis compare`: every method on one pool of samples (source document s3, main.py)."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import asking, drawing
from tamis.cli.options import drawing as drawing_config
from tamis.cli.options import prompt
from tamis.cli.progress import ProgressLine
from tamis.cli.tables import print_bad_rows, print_comparison
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from tamis.sample import Progress

if TYPE_CHECKING:
    from tamis.select import Method
    from tamis.sources import BadRow
    from tamis.workflows.comparing import Compared

EXAMPLE = "tamis compare --model-path embedded --dataset demo --limit 30 -n 8 --temperature 1 --method all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the samples come from, and which methods."""
    asking.add_samples(parser, "--samples", required=False)
    group = parser.add_argument_group("methods")
    group.add_argument(
        "--method",
        default="free",
        metavar="NAMES",
        help="names with commas between; free: all that cost nothing once the samples are there (default); all",
    )
    group.add_argument("--list", action="store_true", help="list the methods and end")
    group.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page")
    group.add_argument("--json", action="store_true", help="print the numbers as JSON instead of a table")
    asking.add_scores(parser)
    asking.add_askers(parser)
    drawing.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Draw or read the samples, ask who is to be asked, let every method choose, print the table."""
    from tamis.workflows.comparing import methods_named

    if options.list:
        methods = methods_named("all" if options.method == "free" else options.method)
        width = max(len(method.name) for method in methods)
        print("\n".join(f"{method.name:<{width}}  {method.description} [{method.source}]" for method in methods))
        return EXIT_DONE
    methods = methods_named(options.method)
    if options.report and (options.report.is_dir() or not options.report.parent.is_dir()):
        raise UsageError(f"--report: no file can be made at {options.report}", "Name a file in a folder that is there")
    if options.dry_run and not options.samples:
        return drawing.dry_run(options)
    compared, bad_rows, facts = _read(options, methods) if options.samples else _draw(options, methods)
    silent = _without_verdict(options.method, methods, compared)
    if options.json:
        from tamis.summarise import to_json

        sys.stdout.buffer.write(_json(to_json(compared.comparison)))
    else:
        print_comparison(compared.comparison, str(options.samples or options.dataset))
    if options.report:
        from tamis.workflows.demonstrating import report_on

        report_on(compared, options.report, "Tamis: methods compared", facts)
        print(f"report: {options.report}", file=sys.stderr if options.json else sys.stdout)
    return EXIT_INCOMPLETE if bad_rows or silent or compared.comparison.health.num_failed else EXIT_DONE


def _without_verdict(names: str, methods: list[Method], compared: Compared) -> list[str]:
    """The methods that were named and are not in the table because whoever was asked said nothing of use.

    Raises:
        UsageError: One is not there because nobody was asked.
    """
    from tamis.workflows.best_of_n import ADVICE_TO_SCORE, NOBODY_ASKED

    if not compared.comparison.num_problems:
        return []
    shown = {line.method for line in compared.comparison.methods}
    lost = [method for method in methods if method.name not in shown and method.name in names.split(",")]
    unasked = [method.name for method in lost if compared.missing[str(method.scorer)].keys() & NOBODY_ASKED]
    if unasked:
        raise UsageError(f"no sample has the score of: {', '.join(unasked)}", ADVICE_TO_SCORE)
    return [method.name for method in lost]


def _read(options: argparse.Namespace, methods: list[Method]) -> tuple[Compared, list[BadRow], dict[str, str]]:
    from tamis.workflows.comparing import compare_pools, needs_of
    from tamis.workflows.earlier import Earlier
    from tamis.workflows.examining import paced
    from tamis.workflows.scoring import score_earlier

    earlier = Earlier(options.samples, asking.sample_fields(options), options.limit)
    asked = asking.asking(options, asking.itself(options, None))

    async def compare() -> Compared:
        with ProgressLine(Progress(), 0) as line:
            await score_earlier(earlier, needs_of(methods), asked, prompt(options), line.follow)
        return await compare_pools(paced(earlier.pools()), methods, asking.score_settings(options), options.seed)

    compared = asyncio.run(compare())
    print_bad_rows(earlier.bad_rows)
    return compared, earlier.bad_rows, {"samples": str(options.samples)}


def _draw(options: argparse.Namespace, methods: list[Method]) -> tuple[Compared, list[BadRow], dict[str, str]]:
    from tamis.score import HIDDEN_STATES
    from tamis.summarise import to_json
    from tamis.workflows.comparing import compare_pools, needs_of
    from tamis.workflows.demonstrating import session_facts
    from tamis.workflows.drawing import Session
    from tamis.workflows.scoring import scored_pools

    needs = needs_of(methods)
    config = replace(drawing_config(options), hidden_states=HIDDEN_STATES in needs)
    asked = asking.asking(options, config)
    named = [method for method in methods if method.name in options.method.split(",")]
    asking.check_asked(named, asked, token_stats=config.token_stats != "none")
    session = Session(config)

    async def compare() -> Compared:
        pools = scored_pools(session, needs, asked)
        settings = asking.score_settings(options)
        compared = await compare_pools(pools, methods, settings, options.seed, session.grader, session.num_certain)
        session.folder.write_json("summary.json", to_json(compared.comparison))
        return compared

    compared = drawing.run_drawing(session, compare())
    drawing.print_spent(session, sys.stderr if options.json else None)
    return compared, session.bad_rows, session_facts(session)


def _json(value: object) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
