"""`tamis demo --vision`: rejection sampling of the embedded vision model, to a table of how often a picture is accepted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.progress import ProgressLine
from tamis.cli.reject_tables import bounds, number
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from tamis.summarise.acceptance import Acceptance


def run_vision(num_images: int, num_candidates: int, seed: int, run: Path) -> int:
    """Draw the pictures, read them, judge, print the table."""
    from tamis.workflows.demonstrating_vision import VisionDemo

    demo = VisionDemo(num_images, num_candidates, seed, run)
    with closing(demo.rejection) as rejection:
        print(f"run folder: {rejection.folder.path}", file=sys.stderr)
        try:
            with ProgressLine(rejection.progress, num_images * demo.config.num_candidates):
                outcome = asyncio.run(demo.run())
        except KeyboardInterrupt:
            done = rejection.folder.num_finished
            print(f"interrupted: {done} candidates are kept; the same command goes on from there", file=sys.stderr)
            raise SystemExit(EXIT_INTERRUPTED) from None
        sizes = (*(size for size in (1, 4, 16, 64) if size < num_candidates), num_candidates)
        rows = demo.acceptance(sizes)
    bad_rows = [*demo.bad_rows, *rejection.bad_rows]
    print_bad_rows(bad_rows)
    print_acceptance(
        rows,
        sizes,
        f"the embedded vision model: share of {num_images} diagrams accepted (score of {demo.config.threshold:g} or more)",
    )
    print("the judge is a rule: 100 times the F1 of the arrows, against the netlist beside each picture")
    print(
        f"{outcome.summary.num_high} pictures have a best candidate in high_quality/, {outcome.summary.num_low} in low_quality/"
    )
    print(f"results: {rejection.folder.path}")
    return EXIT_INCOMPLETE if bad_rows else EXIT_DONE


def print_acceptance(rows: Sequence[Acceptance], sizes: Sequence[int], title: str) -> None:
    """A line a temperature, two columns a number of candidates: the share and its interval."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("temperature", no_wrap=True)
    for size in sizes:
        table.add_column("1 candidate" if size == 1 else f"best of {size}", justify="right", no_wrap=True)
        table.add_column("95 % interval", justify="right", no_wrap=True)
    for temperature in dict.fromkeys(row.temperature for row in rows):
        shares = [row.share for row in rows if row.temperature == temperature]
        cells = (cell for share in shares for cell in (number(share.value, ".3f"), bounds(share, ".3f")))
        table.add_row(f"{temperature:g}", *cells)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=True).print(table)
