"""`tamis demo`: the main job on the embedded model."""

from __future__ import annotations

import argparse
from pathlib import Path

from tamis.cli.drawing import run_drawing
from tamis.cli.options import positive
from tamis.cli.tables import print_comparison
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE

EXAMPLE = "tamis demo --n 8 --problems 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much, and where."""
    parser.add_argument("--n", type=positive, default=8, metavar="N", help="samples a problem (default: %(default)s)")
    parser.add_argument("--problems", type=positive, default=60, metavar="N", help="of the 240 built in (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="(default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Draw, score, choose, print the table, write the report."""
    from tamis.workflows.demonstrating import demo_config, demonstrate
    from tamis.workflows.drawing import Session

    session = Session(demo_config(options.problems, options.n, options.seed, options.run))
    compared = run_drawing(session, demonstrate(session))
    print_comparison(compared.comparison, f"the embedded model: {session.num_problems} problems, {options.n} samples each")
    print(f"report: {session.folder.file('report.html')}")
    return EXIT_INCOMPLETE if compared.comparison.health.num_failed else EXIT_DONE
