"""`tamis infer`: candidates and their choice in one pass (source document s3, infer.py)."""

from __future__ import annotations

import argparse
from dataclasses import replace

from tamis.cli import asking, drawing
from tamis.cli.evaluate import add_choosing, choosing, finish
from tamis.cli.options import drawing as drawing_config
from tamis.errors import UsageError

EXAMPLE = "tamis infer --model-path embedded --dataset demo --limit 20 --num-return-sequences 4 --temperature 0.7 --alpha 0.4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of drawing and of choosing."""
    drawing.add_arguments(parser)
    drawing.add_output(parser)
    add_choosing(parser)


def run(options: argparse.Namespace) -> int:
    """Draw, choose, write both files, print the accuracies."""
    if options.dry_run:
        return drawing.dry_run(options)
    from tamis.score import HIDDEN_STATES, STATISTICS
    from tamis.select import find_method
    from tamis.workflows.best_of_n import infer, needs_of_choice, result_files
    from tamis.workflows.drawing import Session

    chosen = choosing(options)
    needs = needs_of_choice(chosen)
    if options.token_stats == "none" and STATISTICS in needs:
        what = "--key-steps" if chosen.key_steps else f"the method {chosen.method}"
        raise UsageError(f"{what} needs token statistics", "Leave --token-stats none out")
    drawing.check_output(options)
    config = replace(drawing_config(options), hidden_states=HIDDEN_STATES in needs)
    asked = asking.asking(options, config)
    asking.check_asked([find_method(chosen.method)], asked)
    session = Session(config)
    candidates, best = result_files(session, options.output_dir, chosen)
    print(f"[1/2] Generating candidates -> {candidates}", flush=True)
    print(f"[2/2] Evaluating and selecting best answers -> {best}", flush=True)
    outcome = drawing.run_drawing(session, infer(session, chosen, asked, options.output_dir))
    drawing.print_spent(session)
    return finish(outcome)
