"""`tamis grade`: how one answer is judged against another."""

from __future__ import annotations

import argparse

from tamis.errors import EXIT_DONE, UsageError

EXAMPLE = r"tamis grade --explain '\frac{1}{2}' 'The answer is \boxed{0.5}'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two texts."""
    parser.add_argument(
        "--explain",
        nargs=argparse.REMAINDER,
        required=True,
        metavar="TEXT",
        help="GOLD PRED: reference, and answer or whole completion; shows each step of the decision",
    )


def run(options: argparse.Namespace) -> int:
    """Print the steps of the decision, the verdict last."""
    from tamis.grade import Grader, extract_answer

    if len(options.explain) != 2:
        raise UsageError(f"--explain takes two texts, GOLD and PRED: {len(options.explain)} given", "Put each into quotes")
    gold, text = options.explain
    answer = extract_answer(text)
    if answer is not None and answer != text:
        print(f"answer extracted: {answer}")
    with Grader(num_workers=1) as grader:
        print("\n".join(grader.explain(gold, answer or text)))
    return EXIT_DONE
