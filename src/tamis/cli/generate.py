"""`tamis generate`: candidates only (source document s3, generate.py)."""

from __future__ import annotations

import argparse

from tamis.cli import drawing
from tamis.cli.options import drawing as drawing_config
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE

EXAMPLE = "tamis generate --model-path embedded --dataset demo --limit 20 --num-return-sequences 4 --temperature 0.7"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of drawing."""
    drawing.add_arguments(parser)
    drawing.add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Draw, and write the candidates file."""
    if options.dry_run:
        return drawing.dry_run(options)
    from tamis.workflows.best_of_n import generate, result_files
    from tamis.workflows.drawing import Session

    drawing.check_output(options)
    session = Session(drawing_config(options))
    candidates, _ = result_files(session, options.output_dir)
    print(f"Generating candidates -> {candidates}", flush=True)
    drawing.run_drawing(session, generate(session, options.output_dir))
    drawing.print_spent(session)
    print(f"✅ Done! Candidates saved to: {candidates}")
    return EXIT_INCOMPLETE if session.bad_rows or session.progress.samples_failed else EXIT_DONE
