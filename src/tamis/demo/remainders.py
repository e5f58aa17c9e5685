"""Remainders of whole numbers, in English and Chinese: what the embedded model was not taught and the embedded adapter was.

python -m tamis.demo.remainders       # writes remainders.jsonl, the test set that ships, anew
"""

from __future__ import annotations

import random

from tamis.demo import REMAINDERS_FILE
from tamis.demo.problems import DemoProblem, finish, write_problems

_DIVISORS = range(3, 25)
_LARGEST_QUOTIENT, _LARGEST = 20, 299
_ASK = {
    "en": ["What is the remainder when {a} is divided by {b}?", "Find the remainder of {a} divided by {b}."],
    "zh": ["{a}除以{b}的余数是多少？", "求{a}除以{b}的余数。"],
}


def remainder(rng: random.Random, language: str) -> DemoProblem:
    """One problem: ten times the divisor is taken away as often as it can be, then five times, then the divisor itself."""
    divisor = rng.choice(_DIVISORS)
    dividend = rng.randint(divisor + 1, min(_LARGEST, divisor * _LARGEST_QUOTIENT + divisor - 1))
    steps, rest, num_taken = [], dividend, 0
    for times in (10, 5, 1):
        part = divisor * times
        if rest >= part and times > 1:
            steps.append(f"{divisor} * {times} = {part}")
        while rest >= part:
            steps.append(f"{rest} - {part} = {rest - part}")
            rest -= part
            num_taken += 1
    return DemoProblem(
        problem=rng.choice(_ASK[language]).format(a=dividend, b=divisor),
        solution=finish(language, steps, rest),
        answer=str(rest),
        subject="Remainders",
        level=num_taken,
        language=language,
        skeleton=f"remainder {dividend} {divisor}",
    )


if __name__ == "__main__":
    write_problems(REMAINDERS_FILE, [remainder])
