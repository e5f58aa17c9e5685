"""`tamis demo`: the main job on the embedded model; with `--vision` on pictures, with `--interleave` in pictures."""

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
    parser.add_argument(
        "--n", type=positive, metavar="N", help="samples a problem (default: 8; of a picture 16 at each temperature)"
    )
    parser.add_argument("--problems", type=positive, metavar="N", help="of the 240 built in, or pictures (default: 60, or 24)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: %(default)s)")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="(default: runs/demo, runs/demo-vision, ...)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--vision", action="store_true", help="rejection sampling: a small vision model reads block diagrams, a rule judges"
    )
    kinds.add_argument(
        "--interleave", action="store_true", help="reasoning in text and pictures: a small unified model draws its steps"
    )


def run(options: argparse.Namespace) -> int:
    """Draw, score, choose, print the table, write the report."""
    if options.vision:
        from tamis.cli.demo_vision import run_vision

        return run_vision(options.problems or 24, options.n or 16, options.seed, options.run or Path("runs/demo-vision"))
    if options.interleave:
        from tamis.cli.demo_interleave import run_interleave

        return run_interleave(options.problems or 24, options.seed, options.run or Path("runs/demo-interleave"))
    from tamis.workflows.demonstrating import demo_config, demonstrate
    from tamis.workflows.drawing import Session

    n = options.n or 8
    session = Session(demo_config(options.problems or 60, n, options.seed, options.run or Path("runs/demo")))
    compared = run_drawing(session, demonstrate(session))
    print_comparison(compared.comparison, f"the embedded model: {session.num_problems} problems, {n} samples each")
    print(f"report: {session.folder.file('report.html')}")
    return EXIT_INCOMPLETE if compared.comparison.health.num_failed else EXIT_DONE
