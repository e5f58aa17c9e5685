"""`tamis compare`: every method on one pool of samples (source document s3, main.py)."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import drawing
from tamis.cli.options import drawing as drawing_config
from tamis.cli.options import field_names, share
from tamis.cli.tables import print_bad_rows, print_comparison
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from tamis.score import ScoreSettings
    from tamis.select import Method
    from tamis.sources import BadRow
    from tamis.workflows.comparing import Compared

EXAMPLE = "tamis compare --model-path embedded --dataset demo --limit 30 -n 8 --temperature 1 --method all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the samples come from, and which methods."""
    group = parser.add_argument_group("samples made earlier (instead of a model)")
    group.add_argument(
        "--samples",
        type=Path,
        metavar="FILE|FOLDER",
        help="JSONL with a list of texts a problem or one text a row; a candidates file; a run folder",
    )
    group.add_argument("--samples-field", metavar="FIELD", help="field that holds the list of texts, when its name is unusual")
    group.add_argument("--text-field", metavar="FIELD", help="field that holds one text")
    group = parser.add_argument_group("methods")
    group.add_argument("--method", default="all", metavar="NAMES", help="names with commas between, or all (default)")
    group.add_argument("--list", action="store_true", help="list the methods and end")
    group.add_argument("--alpha", type=share, default=0.4, help="of infer: weight of self-certainty (default: %(default)s)")
    group.add_argument(
        "--lambda-weight", type=share, default=0.5, help="of lambda-*: weight of probability (default: %(default)s)"
    )
    group.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page")
    group.add_argument("--json", action="store_true", help="print the numbers as JSON instead of a table")
    drawing.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Draw or read the samples, let every method choose, print the table."""
    from tamis.score import ScoreSettings
    from tamis.workflows.comparing import methods_named

    methods = methods_named(options.method)
    if options.report and not options.report.parent.is_dir():
        raise UsageError(f"--report: no such folder: {options.report.parent}", "Make it, or name another")
    if options.list:
        width = max(len(method.name) for method in methods)
        print("\n".join(f"{method.name:<{width}}  {method.description} [{method.source}]" for method in methods))
        return EXIT_DONE
    if options.dry_run and not options.samples:
        return drawing.dry_run(options)
    settings = ScoreSettings(alpha=options.alpha, lambda_weight=options.lambda_weight)
    compared, bad_rows, facts = _read(options, methods, settings) if options.samples else _draw(options, methods, settings)
    if options.json:
        from tamis.summarise import to_json

        sys.stdout.buffer.write(_json(to_json(compared.comparison)))
    else:
        print_comparison(compared.comparison, str(options.samples or options.dataset))
    if options.report:
        from tamis.workflows.demonstrating import report_on

        report_on(compared, options.report, "Tamis: methods compared", facts)
        print(f"report: {options.report}", file=sys.stderr if options.json else sys.stdout)
    return EXIT_INCOMPLETE if bad_rows or compared.comparison.health.num_failed else EXIT_DONE


def _read(
    options: argparse.Namespace, methods: list[Method], settings: ScoreSettings
) -> tuple[Compared, list[BadRow], dict[str, str]]:
    from tamis.workflows.comparing import compare_pools, pools_at

    if options.model_path:
        raise UsageError("--samples and --model-path exclude each other", "Samples made earlier need no model")
    bad_rows: list[BadRow] = []
    fields = {**field_names(options), "samples": options.samples_field, "text": options.text_field}
    named = {role: name for role, name in fields.items() if name}
    pools = pools_at(options.samples, bad_rows, named, options.limit)
    compared = asyncio.run(compare_pools(pools, methods, settings, options.seed))
    print_bad_rows(bad_rows)
    shown = {line.method for line in compared.comparison.methods}
    lost = [method.name for method in methods if method.name not in shown]
    if lost and options.method != "all" and compared.comparison.num_problems:
        raise UsageError(f"no sample has the score of: {', '.join(lost)}", "Scores need statistics taken while drawing")
    return compared, bad_rows, {"samples": str(options.samples)}


def _draw(
    options: argparse.Namespace, methods: list[Method], settings: ScoreSettings
) -> tuple[Compared, list[BadRow], dict[str, str]]:
    from tamis.summarise import to_json
    from tamis.workflows.comparing import compare_pools
    from tamis.workflows.demonstrating import session_facts
    from tamis.workflows.drawing import Session

    session = Session(drawing_config(options))

    async def compare() -> Compared:
        compared = await compare_pools(session.pools(), methods, settings, options.seed)
        session.folder.write_json("summary.json", to_json(compared.comparison))
        return compared

    return drawing.run_drawing(session, compare()), session.bad_rows, session_facts(session)


def _json(value: object) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
