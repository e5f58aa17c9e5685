"""Lists of numbers on the command line: `0.3,0.5` or `0.3:0.9:0.2`, both ends included."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from tamis.errors import UsageError

_MOST_VALUES = 1000


def number_range(name: str, fits: Callable[[Decimal], bool], rule: str) -> Callable[[str], tuple[Decimal, ...]]:
    """A reader of such lists for argparse; each number must fit the rule. Repeated numbers count once."""

    def read(text: str) -> tuple[Decimal, ...]:
        try:
            values = [value for part in text.split(",") for value in _values(part.strip())]
        except (InvalidOperation, ValueError) as error:
            what = str(error) if type(error) is ValueError else "it is no list of numbers"
            raise argparse.ArgumentTypeError(f"{text!r}: {what}; write 0.3,0.5,0.7 or 0.3:0.7:0.2") from None
        for value in values:
            if not fits(value):
                raise argparse.ArgumentTypeError(f"{text!r}: {value} is no {name}: {rule}")
        return tuple(dict.fromkeys(values))

    return read


def _values(part: str) -> list[Decimal]:
    numbers = [Decimal(piece) for piece in part.split(":")]
    if not all(number.is_finite() for number in numbers):
        raise ValueError("it holds what is no number")
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3:
        raise ValueError("a range has three parts, start:stop:step")
    start, stop, step = numbers
    if step <= 0 or stop < start:
        raise ValueError("a range rises: start <= stop, and a step above 0")
    count = math.floor((stop - start) / step) + 1
    if count > _MOST_VALUES:
        raise ValueError(f"it has {count} values; {_MOST_VALUES} are the most")
    return [start + i * step for i in range(count)]


temperatures = number_range("temperature", lambda value: 0 <= value <= 100, "0 (greedy) or more")
top_ps = number_range("top-p", lambda value: 0 < value <= 1, "above 0 and at most 1")
top_ks = number_range("top-k", lambda value: value == int(value) and 0 <= value < 2**31, "a whole number, 0 (off) or more")


def score_threshold(text: str) -> float:
    """An argument in [0, 100]."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 100")
    return value


def image_limit(text: str) -> int:
    """-1 is all; else 1 or more."""
    if text != "-1" and (not re.fullmatch(r"\d{1,18}", text) or int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of images; -1 is all")
    return int(text)


def plain_url(text: str) -> str:
    """A URL; of a link in Markdown, as documents show it, its target.

    Raises:
        UsageError: The link names one thing and leads to another.
    """
    if not (text.startswith("[") and text.endswith(")") and "](" in text):
        return text
    name, _, target = text[1:-1].partition("](")
    if name != target:
        raise UsageError("a base URL is a link that names another URL than it leads to", "Write the URL alone")
    return target
