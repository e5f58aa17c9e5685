"""`tamis interleave-evaluate`: how good a run of reasoning in text and pictures is (source document s0)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.progress import StatusLine
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from tamis.workflows.evaluating_traces import TraceEvaluation

EXAMPLE = """tamis demo --interleave --problems 8
  tamis interleave-evaluate --results-jsonl runs/demo-interleave/by-steps/batch_inference_* --report gallery.html"""

_SHOWN = 5  # bad rows on the page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The documented options, then those that go further."""
    parser.add_argument(
        "--results-jsonl",
        type=Path,
        required=True,
        metavar="FILE",
        help="results.jsonl of a run of tamis interleave, or the folder where it is; the pictures lie beside it",
    )
    parser.add_argument(
        "--output-eval-json",
        type=Path,
        metavar="FILE",
        help="where the rows go, with statistics.json, metrics.json and sample_scores.jsonl beside them "
        "(default: evaluation_data.json in the folder of the results)",
    )
    parser.add_argument(
        "--bert-model",
        metavar="FOLDER|NAME",
        help="whose states BERTScore compares, on this machine (default: bert-base-multilingual-cased, where it is cached)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with every sample and its pictures")
    parser.add_argument(
        "--restrict-paths",
        action="store_true",
        help="read pictures of problems and references only from the working directory and the folder of the results",
    )


def run(options: argparse.Namespace) -> int:
    """Count, compare, write, and print what there is to know at a glance."""
    from tamis.cli.interleave_tables import facts_of, metric_lines, print_metrics
    from tamis.records.traced import RESULTS_FILE, SUMMARY_FILE
    from tamis.workflows.evaluating_traces import METRICS_FILE, SCORES_FILE, TraceEvaluation
    from tamis.workflows.trace_files import DATA_FILE, STATISTICS_FILE
    from tamis.workflows.trace_gallery import Gallery

    results: Path = options.results_jsonl
    output: Path = options.output_eval_json or (results if results.is_dir() else results.parent) / DATA_FILE
    own = {results.name, RESULTS_FILE, SUMMARY_FILE, STATISTICS_FILE, METRICS_FILE, SCORES_FILE}
    for name, path in (("--output-eval-json", output), ("--report", options.report)):
        if path and path.is_dir():
            raise UsageError(f"{path} is a folder", "Name a file")
        if path and path.name in own:
            raise UsageError(f"{name} cannot be {path.name}: so is another file of the run called", "Give another name")
    evaluation = TraceEvaluation(results, output, is_restricted=options.restrict_paths, bert_model=options.bert_model)
    gallery = Gallery(evaluation, options.report) if options.report else None
    with _Comparing(evaluation):
        evaluation.run(gallery.add if gallery else None)
    found = evaluation.metrics
    warnings = _warnings(evaluation)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print_bad_rows(evaluation.results.bad_rows, listed_in=METRICS_FILE)
    print_bad_rows(evaluation.complaints, "not compared", listed_in=METRICS_FILE)
    if not len(evaluation.results):
        print(f"tamis interleave-evaluate: {results} holds no samples", file=sys.stderr)
    print_metrics(found, evaluation.statistics)
    print(f"files: {output}, and {STATISTICS_FILE}, {METRICS_FILE} and {SCORES_FILE} beside it")
    if gallery:
        gallery.write(facts_of(found, evaluation.statistics), metric_lines(found), [*warnings, *found["bad_rows"][:_SHOWN]])
        print(f"report: {options.report}")
    is_whole = found["successful"] and not found["failed"] and not found["bad_rows"]
    return EXIT_DONE if is_whole else EXIT_INCOMPLETE


def _warnings(evaluation: TraceEvaluation) -> list[str]:
    """What the numbers do not say of the run."""
    if evaluation.is_complete is not False:
        return []
    of_all = f" of {evaluation.num_rows}" if evaluation.num_rows else ""
    there = f"{len(evaluation.results)}{of_all} rows are there"
    return [f"the run is not complete: {there}; those with few steps are done first, and the numbers lean to them"]


class _Comparing(StatusLine):
    """How many samples are compared; gone at the end."""

    def __init__(self, evaluation: TraceEvaluation) -> None:
        super().__init__()
        self._evaluation, self._started = evaluation, time.monotonic()

    def line(self) -> str:
        """`312/1000 samples compared, 12.1/s`."""
        done, elapsed = self._evaluation.num_done, max(time.monotonic() - self._started, 1e-9)
        return f"{done}/{len(self._evaluation.results)} samples compared, {done / elapsed:.1f}/s"
