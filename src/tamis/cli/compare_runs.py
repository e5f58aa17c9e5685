"""`tamis compare-runs`: two evaluations of the same problems, and whether one is better by more than chance."""

from __future__ import annotations

import argparse
from pathlib import Path

from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE

EXAMPLE = """tamis solve --evaluate --dataset demo --temperature 0 --output a.json
  tamis solve --evaluate --dataset demo --temperature 1 --output b.json
  tamis compare-runs a.json b.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two, and where the lists go."""
    what = "a file of tamis solve --evaluate, a best file of tamis infer or tamis evaluate, or a run folder"
    parser.add_argument("first", type=Path, metavar="A", help=what)
    parser.add_argument("second", type=Path, metavar="B", help="the same")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers and all lists as JSON")


def run(options: argparse.Namespace) -> int:
    """Read both, match, compare, print."""
    from tamis.cli.solve_tables import print_difference
    from tamis.store.files import encode_readable, write_atomically
    from tamis.workflows.comparing_runs import compare_sides, read_side

    first, second = read_side(options.first), read_side(options.second)
    found = compare_sides(first, second)
    print_difference(first, second, found)
    if options.output:
        write_atomically(options.output, [encode_readable(found.to_json())])
        print(f"written: {options.output}")
    bad_rows = [*first.bad_rows, *second.bad_rows]
    print_bad_rows(bad_rows)
    return EXIT_INCOMPLETE if bad_rows else EXIT_DONE
