"""`tamis grade`: how one answer is judged against another."""

from __future__ import annotations

import argparse
import asyncio

EXAMPLE = r"tamis grade --explain '\frac{1}{2}' 'The answer is \boxed{0.5}'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two texts."""
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar=("GOLD", "PRED"),
        required=True,
        help="reference and answer (or a whole completion); shows each step of the decision",
    )


def run(options: argparse.Namespace) -> int:
    """Print the steps of the decision, the verdict last."""
    from tamis.grade import Grader

    gold, prediction = options.explain

    async def explain() -> list[str]:
        async with Grader() as grader:
            return await grader.explain(gold, prediction)

    print("\n".join(asyncio.run(explain())))
    return 0
