"""`tamis summarise`: statistics of each prompt over any amount of graded generations (source document s1)."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.options import add_on, positive
from tamis.cli.progress import ReadingLine
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.summarise.overview import Lengths, Overview
    from tamis.summarise.results import CurvePoint
    from tamis.workflows.summarising import Summary

EXAMPLE = """tamis generate --model-path embedded --dataset demo --limit 20 --temperature 1 --max-tokens 160 --run try
  tamis summarise --input-data-dir try --output-data-dir summary --report summary/report.html"""

_FIELDS = ("prompt", "gen", "answer", "accuracy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The documented options, then those that go further."""
    parser.add_argument(
        "--input-data-dir",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of files with a row a generation: prompt, gen, answer, accuracy; or one file, or a run folder of Tamis",
    )
    parser.add_argument(
        "--model-name-or-path",
        "--model-path",
        "--model",
        metavar="FOLDER|NAME",
        help="whose tokenizer counts: a folder with tokenizer.json, or a hub name; a run folder needs none",
    )
    parser.add_argument(
        "--output-data-dir", type=Path, default=Path("summary"), metavar="FOLDER", help="where to write (default: ./summary)"
    )
    parser.add_argument(
        "--output-filename",
        default="combined_accuracy_summary.json",
        metavar="NAME",
        help="ends in .json, .csv or .parquet (default: %(default)s)",
    )
    parser.add_argument(
        "--input-file-pattern",
        default="*.jsonl",
        metavar="GLOB",
        help="which files of the folder; those with .gz or .zst behind it too (default: %(default)s)",
    )
    parser.add_argument("--num-proc", type=positive, metavar="N", help="processes (default: the processors)")
    add_on(parser)
    group = parser.add_argument_group("rows")
    for name in _FIELDS:
        group.add_argument(f"--{name}-field", metavar="FIELD", default=name, help=f"field of the {name} (default: %(default)s)")
    group.add_argument(
        "--max-tokens", type=positive, metavar="N", help="texts of N tokens are truncated where rows do not say how they ended"
    )
    group.add_argument(
        "--majority", action="store_true", help="find the answer in each text, for maj@k; slower, implied by --report"
    )
    group = parser.add_argument_group("further output")
    group.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page")
    group.add_argument(
        "--keep", type=_interval, metavar="LOW:HIGH", help="write the prompts whose accuracy lies between, for training"
    )
    group.add_argument(
        "--dedupe", action="store_true", help="of prompts that are the same but for case and blanks write the first"
    )
    group.add_argument(
        "--prompts-output", type=Path, metavar="FILE", help="where they go (default: prompts.jsonl in the output folder)"
    )


def run(options: argparse.Namespace) -> int:
    """Count, write, print what there is to know at a glance."""
    from tamis.workflows.summarising import Counted, Summarising, named_fields, summarise_inputs
    from tamis.workflows.summary_files import check_format, write_summary

    output = options.output_data_dir / options.output_filename
    check_format(output)
    if options.prompts_output and not (options.keep or options.dedupe):
        raise UsageError("--prompts-output has no effect alone", "Say which prompts: --keep LOW:HIGH or --dedupe")
    config = Summarising(
        path=options.input_data_dir,
        pattern=options.input_file_pattern,
        model=options.model_name_or_path,
        fields=named_fields({name: getattr(options, f"{name}_field") for name in _FIELDS}),
        num_proc=options.num_proc,
        max_tokens=options.max_tokens,
        majority=options.majority or options.report is not None,
        on=options.on,
    )
    counted = Counted()
    with ReadingLine(counted):
        summary = summarise_inputs(config, counted)
    write_summary(summary, output)
    print_bad_rows(summary.bad_rows, num=summary.num_bad)
    for line in _lines(summary):
        print(line)
    print(f"summary: {output}")
    _write_more(options, summary)
    return EXIT_INCOMPLETE if summary.num_bad else EXIT_DONE


def _write_more(options: argparse.Namespace, summary: Summary) -> None:
    from tamis.workflows.summary_files import write_prompts

    if options.keep or options.dedupe:
        low, high = options.keep or (-math.inf, math.inf)
        path = options.prompts_output or options.output_data_dir / "prompts.jsonl"
        num = write_prompts(summary, path, low, high, dedupe=options.dedupe)
        print(f"prompts: {num} of {summary.overview.num_prompts}: {path}")
        if not num:
            print("tamis summarise: no prompt has such an accuracy", file=sys.stderr)
    if options.report:
        from tamis.view.summary import write_summary_report

        facts = {"input": str(options.input_data_dir), "tokens counted by": summary.counted_by}
        write_summary_report(options.report, "Tamis: prompts summarised", facts, summary.overview, _left_out(summary))
        print(f"report: {options.report}")


def _left_out(summary: Summary) -> list[str]:
    return [f"{summary.num_bad} rows are left out; the first: {summary.bad_rows[0]}"] if summary.num_bad else []


def _lines(summary: Summary) -> Iterator[str]:
    found = summary.overview
    rows = f"{found.fewest_rows}" if found.fewest_rows == found.most_rows else f"{found.fewest_rows} to {found.most_rows}"
    yield f"{found.num_prompts} prompts, {found.num_rows} rows ({rows} a prompt), {summary.num_bad} left out"
    accuracy = found.accuracy
    interval = "" if math.isnan(accuracy.low) else f" (95 % interval {accuracy.low:.4f} .. {accuracy.high:.4f})"
    yield f"accuracy {accuracy.value:.4f}{interval}; never right: {found.bins[0]} prompts, always: {found.bins[-1]}"
    for name, curve in (("pass", found.pass_at_k), ("maj", found.maj_at_k)):
        if len(curve) > 1:
            yield _points(name, curve, found)
    yield f"tokens of right rows: {_tokens(found.right)}; of wrong ones: {_tokens(found.wrong)}"
    yield "; ".join(_health(found))


def _points(name: str, curve: tuple[CurvePoint, ...], found: Overview) -> str:
    few = f" (of {found.in_curves} prompts)" if found.in_curves < found.num_prompts else ""
    return "  ".join(f"{name}@{point.num_samples} {point.accuracy.value:.4f}" for point in curve) + few


def _tokens(lengths: Lengths) -> str:
    if not lengths.num:
        return "none"
    return f"mean {lengths.mean:.0f}, median {lengths.median:.0f}, 90 % below {lengths.p90:.0f}, longest {lengths.longest}"


def _health(found: Overview) -> Iterator[str]:
    if found.num_known_end:
        yield f"truncated: {found.num_truncated} of {found.num_known_end}"
    else:
        yield "truncated: not known (rows do not say; give --max-tokens)"
    yield f"repeated texts: {found.num_repeated}"
    if found.num_differing:
        yield f"prompts whose rows differ in the answer (the first counts): {found.num_differing}"


def _interval(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = math.nan, math.nan
    if not colon or not bounds[0] <= bounds[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW:HIGH, as 0.1:0.9")
    return bounds
